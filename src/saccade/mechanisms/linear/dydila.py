"""Dynamic differential linear attention (paper 262)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View, where_tokens


@dataclass(frozen=True)
class Options:
    """Sizes of the banks that routers choose from: ``projectors``, ``powers`` γ, ``factors`` λ; their initial values.

    ``hard``: each token takes the one choice its router scores highest; else the softmax of the scores mixes them.
    """

    projectors: int = 3
    powers: int = 9
    factors: int = 9
    power: float = 3.0
    factor: float = 0.01
    hard: bool = False

    def __post_init__(self) -> None:
        if min(self.projectors, self.powers, self.factors) < 1:
            raise MechanismError(
                f"each bank needs a choice, found {self.projectors} projectors, {self.powers} powers and "
                f"{self.factors} factors"
            )


class DyDiLA(Layer):
    """O = (Q̃ − λ^Q Q̃′) [(K̃ − λ^K K̃′)ᵀ V] / n, with X̃ = ‖z‖ z^γ / ‖z^γ‖, z = relu(X), and n keys.

    Q′ and K′ estimate what tokens have in common, which blurs linear attention. For every token three routers choose
    from learned banks: the projector that gives Q′ (and that which gives K′), the power γ ≥ 1 of each of Q, K, Q′, K′
    (the norm stays, the direction sharpens), and the factor λ, from the two parts side by side.

    Equation, banks and initial values follow a public adaptation of the paper, whose own code is not public, and
    reviews of it. The paper's routers take the highest score, which gives them no gradient; here the softmax of the
    scores mixes the choices unless ``hard`` is set. The division by n is this library's.
    """

    info = Info(
        name="dydila",
        summary="(Q̃ − λ Q̃′)((K̃ − λ K̃′)ᵀ V), projections and powers chosen by token",
        papers=(262,),
        family="linear",
        patterns=("self", "cross"),
        cost=1,
        decode="none",
        parameters="banks of projectors, powers and factors, and their routers",
        fast="keys times values first",
        source="derived",
    )
    Options = Options

    def build(self) -> None:
        shape, o = self.shape, self.options
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q = nn.Linear(shape.dim, wide, bias=False)
        self.k, self.v = (nn.Linear(shape.dim, narrow, bias=False) for _ in range(2))
        self.out = nn.Linear(wide, shape.dim, bias=False)
        self.shared_q = nn.Parameter(torch.randn(o.projectors, wide, shape.dim) * shape.dim**-0.5)
        self.shared_k = nn.Parameter(torch.randn(o.projectors, narrow, shape.dim) * shape.dim**-0.5)
        self.route_q, self.route_k = (nn.Linear(shape.dim, o.projectors, bias=False) for _ in range(2))
        self.powers = nn.Parameter(torch.full((4, o.powers), o.power))
        self.route_powers = nn.Parameter(torch.randn(4, o.powers, shape.head_dim) * shape.head_dim**-0.5)
        self.factors = nn.Parameter(torch.full((2, o.factors), o.factor))
        self.route_factors = nn.Parameter(torch.randn(2, o.factors, 2 * shape.head_dim) * shape.head_dim**-0.5)

    def shares(self, scores: Tensor) -> Tensor:
        """Shares of the choices from their scores [..., choices]."""
        if not self.options.hard:
            return scores.softmax(-1)
        return F.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)

    def sharpen(self, x: Tensor, which: int) -> Tensor:
        """X̃ of x [B,H,N,D], ``which`` of Q, K, Q′, K′."""
        powers, router = (p[which].to(x.dtype) for p in (self.powers, self.route_powers))
        power = (self.shares(x @ router.mT) @ powers).clamp_min(1)[..., None]
        z = x.relu()
        scale = z.detach().amax(-1, keepdim=True).clamp_min(torch.finfo(z.dtype).tiny)
        sharp: Tensor = F.normalize((z / scale) ** power, dim=-1) * z.norm(dim=-1, keepdim=True)
        return sharp

    def subtract(self, x: Tensor, shared: Tensor, which: int) -> Tensor:
        """X̃ − λ X̃′, ``which`` of queries and keys."""
        factors, router = (p[which].to(x.dtype) for p in (self.factors, self.route_factors))
        factor = self.shares(torch.cat([x, shared], dim=-1) @ router.mT) @ factors
        return x - factor[..., None] * shared

    def parts(self, x: Tensor, context: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys after subtraction, and values, [B,H,N,D], heads repeated; masked keys are zero."""
        width, groups = self.shape.head_dim, self.shape.groups
        shared_q = mixture(self.shares(self.route_q(x)), self.shared_q, x)
        shared_k = mixture(self.shares(self.route_k(context)), self.shared_k, context)
        every = (self.q(x), self.k(context), shared_q, shared_k, self.v(context))
        q, k, also_q, also_k, v = upcast(*(split_heads(t, width) for t in every))
        q, k, also_q, also_k = (self.sharpen(t, i) for i, t in enumerate((q, k, also_q, also_k)))
        k = where_tokens(self.subtract(k, also_k, 1), view.mask)
        k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
        return self.subtract(q, also_q, 0), k, v

    def count(self, context: Tensor, view: View) -> Tensor | int:
        """The number of keys n."""
        return context.shape[1] if view.mask is None else view.mask.sum(-1).clamp_min(1)[:, None, None, None]

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, k, v = self.parts(x, context, view)
        y: Tensor = self.out(merge_heads((q @ k.mT) @ v / self.count(context, view)).to(x.dtype))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v = self.parts(x, context, view)
        y: Tensor = self.out(merge_heads(q @ (k.mT @ v / self.count(context, view))).to(x.dtype))
        return y


def mixture(shares: Tensor, bank: Tensor, x: Tensor) -> Tensor:
    """Σ_p shares_p W_p x for shares [B,N,P], bank [P,C,D], x [B,N,D]: [B,N,C]."""
    every = (x @ bank.flatten(0, 1).mT).unflatten(-1, bank.shape[:2])
    mixed: Tensor = (shares[..., None] * every).sum(-2)
    return mixed
