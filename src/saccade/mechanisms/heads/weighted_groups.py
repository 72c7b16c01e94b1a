"""Weighted grouped-query attention: key-value heads merged by learned weights (paper 313)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Layer, Projected, merge_heads, split_heads
from saccade.mechanisms.registry import mechanism
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``groups`` that remain (None: half of the heads); a weight ``per`` head, channel of a head, or input of one."""

    groups: int | None = None
    per: Literal["head", "channel", "input"] = "head"

    def __post_init__(self) -> None:
        if self.groups is not None and self.groups < 1:
            raise MechanismError(f"groups must be at least 1, or None, found {self.groups}")
        if self.per not in ("head", "channel", "input"):
            raise MechanismError(f"per must be 'head', 'channel' or 'input', found {self.per!r}")


class WeightedGroups(Layer):
    """Grouped-query attention with W_k of group g = Σ_{i∈g} w_i ⊙ W_k^i, and W_v likewise; w is learned.

    The heads keep their projections while w is trained; w begins at 1 / |g|, where this is the mean pooling of
    grouped-query attention. ``fold`` turns it into a grouped layer without the extra weights. w scales whole heads,
    the channels of a head, or the inputs of a head (the paper's scalar, and its row and column variants). The layer
    takes the state of a softmax layer with as many key-value heads as query heads, less w.
    """

    info = Info(
        name="weighted-groups",
        summary="softmax attention on key-value heads merged in groups by learned weights",
        papers=(313,),
        family="heads",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="a weight for each key head and each value head; all are folded into fewer heads at inference",
        fast="saccade.core.attention on the merged heads",
        groups=False,
    )
    Options = Options
    takes: ClassVar[tuple[str, ...]] = ("rotation",)

    def build(self) -> None:
        shape = self.shape
        self.groups = self.options.groups or max(shape.heads // 2, 1)
        if shape.heads % self.groups:
            raise MechanismError(f"heads={shape.heads} is not a multiple of groups={self.groups}")
        wide = shape.heads * shape.head_dim
        self.q = nn.Linear(shape.dim, wide, bias=False)
        self.k = nn.Linear(shape.dim, wide, bias=False)
        self.v = nn.Linear(shape.dim, wide, bias=False)
        self.out = nn.Linear(wide, shape.dim, bias=False)
        size = {"head": (1, 1), "channel": (shape.head_dim, 1), "input": (1, shape.dim)}[self.options.per]
        start = torch.full((shape.heads, *size), self.groups / shape.heads)
        self.k_shares, self.v_shares = nn.Parameter(start), nn.Parameter(start.clone())

    def merged(self) -> tuple[Tensor, Tensor]:
        """W_k and W_v of the groups, [groups · head_dim, dim]."""
        pairs = ((self.k.weight, self.k_shares), (self.v.weight, self.v_shares))
        scaled = (weight.unflatten(0, (self.shape.heads, -1)) * shares for weight, shares in pairs)
        k, v = (t.unflatten(0, (self.groups, -1)).sum(dim=1).flatten(0, 1) for t in scaled)
        return k, v

    def project(self, x: Tensor, context: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated q [B,H,Q,D] and k [B,G,K,D], and v."""
        k, v = (split_heads(F.linear(context, weight), self.shape.head_dim) for weight in self.merged())
        q = split_heads(self.q(x), self.shape.head_dim)
        return self.position.queries(q, view.q_pos), self.position.keys(k, view.k_pos), v

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        y: Tensor = self.out(merge_heads(written_out(*self.project(x, context, view), view)))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v = self.project(x, context, view)
        if state is not None:
            k, v, view = state.extend("k", k), state.extend("v", v), view.extended(state)
        q, k, v = upcast(q, k, v)
        y: Tensor = self.out(merge_heads(fused(q, k, v, view).to(x.dtype)))
        return y

    @torch.no_grad()
    def fold(self) -> Projected:
        """The grouped-query layer that computes the same, without w.

        >>> folded = mechanism("weighted-groups", dim=8, heads=4).fold()
        >>> folded.info.name, folded.shape.kv_heads
        ('grouped-query', 2)
        """
        shape = self.shape
        made = mechanism(
            "grouped-query", shape.dim, shape.heads, self.groups, shape.head_dim, positions=self.position.config
        )
        assert isinstance(made, Projected)
        k, v = self.merged()
        state = {"q.weight": self.q.weight, "k.weight": k, "v.weight": v, "out.weight": self.out.weight}
        made.to(k).load_state_dict(state)
        return made
