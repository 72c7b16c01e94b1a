"""InLine attention: injective linear attention with a local residual (paper 252)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.linear.local import Grid, check_grid, depthwise, on_grid
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``kernel``: width of the local neighbourhood; ``grid``: rows and columns of the tokens, None: a sequence."""

    kernel: int = 3
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise MechanismError(f"kernel must be odd, found {self.kernel}")


class InLine(Layer):
    """o_i = Σ_j [s (q_i·k_j − q_i·k̄) + 1] v_j / n + Σ_δ r_δ v_{i+δ}, with s = 1/√d and k̄ the mean key.

    The weights sum to 1 by subtraction, not by division, so that different queries never get the same weights. The
    local weights r = MLP(x̄) of the neighbourhood come from the mean token, for each channel, by an MLP for each head
    (GELU inside). The paper has images and 3 × 3 neighbours; without a grid the neighbours are those in the sequence.
    """

    info = Info(
        name="inline",
        summary="(s (q·k − q·k̄) + 1) / n, and neighbours weighted by the mean token",
        papers=(252,),
        family="linear",
        patterns=("self",),
        cost=1,
        decode="none",
        parameters="an MLP for each head that gives the local weights",
        fast="keys times values first",
    )
    Options = Options
    compact = True

    def build(self) -> None:
        shape, grid = self.shape, self.options.grid
        if shape.dim % shape.heads:
            raise MechanismError(f"inline needs dim={shape.dim} to be a multiple of heads={shape.heads}")
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q = nn.Linear(shape.dim, wide, bias=False)
        self.k, self.v = (nn.Linear(shape.dim, narrow, bias=False) for _ in range(2))
        self.out = nn.Linear(wide, shape.dim, bias=False)
        taps = self.options.kernel ** (1 if grid is None else 2)
        self.hidden = nn.Conv1d(shape.dim, wide, 1, groups=shape.heads)
        self.local = nn.Conv1d(wide, wide * taps, 1, groups=shape.heads)
        if grid is not None:
            self.info = on_grid(self.info)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """q, scaled by s, k and v [B,H,N,D], heads repeated."""
        width, groups = self.shape.head_dim, self.shape.groups
        q, k, v = (split_heads(p(x), width) for p in (self.q, self.k, self.v))
        return q * width**-0.5, *(t.repeat_interleave(groups, dim=1) for t in (k, v))

    def neighbours(self, x: Tensor, v: Tensor, count: Tensor | int) -> Tensor:
        """The local part, [B,N,H·D]."""
        mean = (upcast(x)[0].sum(-2, keepdim=True) / count).to(x.dtype).mT
        kernel, side = self.local(F.gelu(self.hidden(mean))), self.options.kernel
        kernel = kernel.reshape(len(x), -1, *[side] * (1 if self.options.grid is None else 2))
        return depthwise(merge_heads(v), kernel.to(v.dtype), self.options.grid)

    def count(self, x: Tensor, view: View) -> Tensor | int:
        """The number of tokens n; on a grid, checked."""
        if self.options.grid is not None:
            check_grid(self.options.grid, x.shape[1])
        return x.shape[1] if view.mask is None else view.mask.sum(-1).clamp_min(1)[:, None, None]

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        (q, k, v), n = self.project(x), self.count(x, view)
        n_heads = n if isinstance(n, int) else n[..., None]
        scores = q @ k.mT
        weights = view.hide((scores - scores.sum(-1, keepdim=True) / n_heads + 1) / n_heads)
        y: Tensor = self.out(merge_heads(weights @ v) + self.neighbours(x, v, n))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        (q, k, v), n = upcast(*self.project(x)), self.count(x, view)
        n_heads = n if isinstance(n, int) else n[..., None]
        mean_k, mean_v = k.sum(-2, keepdim=True) / n_heads, v.sum(-2, keepdim=True) / n_heads
        far = q @ (k.mT @ v / n_heads) + (1 - q @ mean_k.mT) * mean_v
        y: Tensor = self.out((merge_heads(far) + self.neighbours(x, v, n)).to(x.dtype))
        return y
