"""DiffQKV: queries, keys and values of different numbers of heads and widths (paper 391, Sigma)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``sharing``: value heads for each key head; ``key_width`` of a key in the cache (None: that of a head);
    ``augment``: inner width of the queries over dim (0: a plain projection)."""

    sharing: int = 4
    key_width: int | None = None
    augment: float = 1.5

    def __post_init__(self) -> None:
        if self.sharing < 1:
            raise MechanismError(f"sharing must be at least 1 value head a key head, found {self.sharing}")
        if self.key_width is not None and self.key_width < 1:
            raise MechanismError(f"key_width must be at least 1, or None, found {self.key_width}")
        if self.augment < 0:
            raise MechanismError(f"augment must not be negative, found {self.augment}")


class DiffQKV(Layer):
    """softmax(q_h·k_{g(h)} / √d) v_{g'(h)}: fewer key heads than value heads, and queries with parameters of their own.

    ``kv_heads`` counts the value heads; Sigma has half as many as query heads, and a quarter as many key heads again
    (32 queries, 16 values, 4 keys). Keys may also be narrower than values in the cache: a learned map brings them to
    the width of a head before they are rotated. Augmented queries are W_down (SiLU(W_gate x) ⊙ W_up x), 1.5 dim wide
    inside: the paper says that extra parameters go to the queries, as many as a feed-forward layer of that width has,
    and gives no equation for them. Selective loading of values is left out.
    """

    info = Info(
        name="diff-qkv",
        summary="softmax attention with fewer key heads than value heads and augmented queries",
        papers=(391,),
        family="heads",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="a gated layer in place of the query projection; fewer key heads",
        fast="saccade.core.attention",
        source="derived",
    )
    Options = Options
    trial = Options(key_width=3)
    takes: ClassVar[tuple[str, ...]] = ("rotation",)

    def build(self) -> None:
        shape, options = self.shape, self.options
        self.key_heads = max(shape.kv_heads // options.sharing, 1)
        if shape.kv_heads % self.key_heads:
            raise MechanismError(f"kv_heads={shape.kv_heads} is not a multiple of {self.key_heads} key heads")
        width = options.key_width or shape.head_dim
        self.queries = Augmented(shape.dim, int(options.augment * shape.dim), shape.heads * shape.head_dim)
        self.keys = nn.Linear(shape.dim, self.key_heads * width, bias=False)
        self.widen = nn.Identity() if options.key_width is None else nn.Linear(width, shape.head_dim, bias=False)
        self.v = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)

    def project(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q [B,H,Q,D], k [B,Hk,K,key_width] and v [B,Hv,K,D], not rotated."""
        q, v = split_heads(self.queries(x), self.shape.head_dim), split_heads(self.v(context), self.shape.head_dim)
        return q, split_heads(self.keys(context), self.options.key_width or self.shape.head_dim), v

    def rotated(self, q: Tensor, k: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """Queries and widened keys with their positions."""
        k = F.linear(k, self.widen.weight.to(k.dtype)) if isinstance(self.widen, nn.Linear) else k
        return self.position.queries(q, view.q_pos), self.position.keys(k, view.k_pos)

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, k, v = self.project(x, context)
        y: Tensor = self.out(merge_heads(written_out(*self.rotated(q, k, view), v, view)))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v = self.project(x, context)
        if state is not None:
            k, v, view = state.extend("k", k), state.extend("v", v), view.extended(state)
        q, k, v = upcast(q, k, v)
        y: Tensor = self.out(merge_heads(fused(*self.rotated(q, k, view), v, view).to(x.dtype)))
        return y


class Augmented(nn.Module):
    """W_down (SiLU(W_gate x) ⊙ W_up x), or W x where ``inner`` is 0."""

    def __init__(self, dim: int, inner: int, wide: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, inner, bias=False) if inner else None
        self.up = nn.Linear(dim, inner, bias=False) if inner else None
        self.down = nn.Linear(inner or dim, wide, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., wide]."""
        if self.gate is not None and self.up is not None:
            x = F.silu(self.gate(x)) * self.up(x)
        y: Tensor = self.down(x)
        return y
