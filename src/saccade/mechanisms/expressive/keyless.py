"""Efficient attention of paper 48: neither key nor value projection."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class Keyless(Layer):
    """out = W_O · concat_h softmax(q_h·x_h / √d) x_h, where x_h is the h-th slice of the tokens.

    The paper calls it Efficient Attention: half of the parameters of softmax attention. Tokens themselves are keys and
    values, so the cache holds the tokens alone, half of the usual; with ``heads=1`` nothing is sliced. From the
    abstract and public discussion of the paper.
    """

    info = Info(
        name="keyless",
        summary="W_O · concat softmax(q_h·x_h / √d) x_h: keys and values are slices of the tokens",
        papers=(48,),
        family="expressive",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="fewer: neither key nor value projection",
        fast="saccade.core.attention",
        source="derived",
    )
    takes: ClassVar[tuple[str, ...]] = ("rotation",)

    def build(self) -> None:
        shape = self.shape
        if shape.dim != shape.heads * shape.head_dim:
            raise MechanismError(
                f"{self.info.name} slices the tokens into heads: head_dim must be dim / heads = "
                f"{shape.dim / shape.heads:g}, found {shape.head_dim}"
            )
        self.q = nn.Linear(shape.dim, shape.dim, bias=False)
        self.out = nn.Linear(shape.dim, shape.dim, bias=False)

    def values(self, context: Tensor, view: View, state: State | None) -> Tensor:
        """Values [B,K,dim] of all tokens ``context``; ``view`` is of the queries of this call on all of them."""
        return context

    def project(self, x: Tensor, context: Tensor, view: View, state: State | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, and the slices that are keys and values."""
        q, k, v = (split_heads(t, self.shape.head_dim) for t in (self.q(x), context, self.values(context, view, state)))
        return self.position.queries(q, view.q_pos), self.position.keys(k, view.k_pos), v

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        y: Tensor = self.out(merge_heads(written_out(*self.project(x, context, view, None), view)))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        if state is not None:
            context, view = state.extend("x", context), view.extended(state)
        y: Tensor = self.out(merge_heads(fused(*self.project(x, context, view, state), view)))
        return y
