"""Heads chosen by the norms of their queries: mixture of heads for models that are trained already (paper 73)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.baseline.softmax import Softmax
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``shared`` heads that always work (None: half), ``active`` ones of the routed rest (None: a quarter of all)."""

    shared: int | None = None
    active: int | None = None

    def __post_init__(self) -> None:
        if self.shared is not None and self.shared < 0:
            raise MechanismError(f"shared must be at least 0 heads, or None, found {self.shared}")
        if self.active is not None and self.active < 1:
            raise MechanismError(f"active must be at least 1 head, or None, found {self.active}")


class NormRouted(Softmax):
    """out_h(i) = g_h(i) softmax(q_h·k / √d) v; g = 1 for shared heads and for the k routed ones of largest ‖q_h(i)‖.

    The first heads are shared; every other g is 0. There is no router, so that a trained model becomes a mixture of
    heads without new parameters; it is then trained on. As in the public code of the paper's language model, a
    score is softmax(‖q_h‖ / std of the norms) over the routed heads; in training the gradient of g is that of the
    score (straight through). With every routed head active this is softmax attention. The loss that balances the
    routed heads is left out.
    """

    info = Info(
        name="norm-routed",
        summary="softmax attention whose heads of small query norm are left out, token by token",
        papers=(73,),
        family="heads",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        fast="saccade.core.attention: the fused kernel wherever it is exact",
    )
    Options = Options
    trial = Options(shared=1, active=1)

    def build(self) -> None:
        heads, options = self.shape.heads, self.options
        self.shared = heads // 2 if options.shared is None else options.shared
        self.active = max(heads // 4, 1) if options.active is None else options.active
        if heads - self.shared < self.active:
            raise MechanismError(
                f"active={self.active} of the routed heads were asked for, but shared={self.shared} of heads={heads} "
                f"leave {heads - self.shared}"
            )

    def gates(self, q: Tensor) -> Tensor:
        """g [B,H,Q,1] from the queries [B,H,Q,D], in the dtype of q."""
        (routed,) = upcast(q[:, self.shared :])
        norms = torch.linalg.vector_norm(routed, dim=-1)
        chosen = torch.zeros_like(norms).scatter(1, norms.topk(self.active, dim=1).indices, 1)
        if self.training and norms.shape[1] > 1:
            spread = norms.std(dim=1, keepdim=True).clamp_min(torch.finfo(norms.dtype).eps)
            score = (norms / spread).softmax(dim=1) * chosen
            chosen = chosen + score - score.detach()
        shared = torch.ones_like(norms[:, :1]).expand(-1, self.shared, -1)
        return torch.cat([shared, chosen], dim=1)[..., None].to(q.dtype)

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        return super().reference(q, k, v, view) * self.gates(q)

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        return super().fast(q, k, v, view, state) * self.gates(q)
