"""Optimised attention: no value projection (paper 48)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class Optimised(Layer):
    """out = W_O · concat_h softmax(q_h·k_h / √d) x_h, where x_h is the h-th slice of the tokens, of width dim / heads.

    Three quarters of the parameters of softmax attention: a value projection before an output projection is a product
    of two matrices, and one will do. From the abstract and public discussion of the paper.
    """

    info = Info(
        name="optimised",
        summary="W_O · concat softmax(q_h·k_h / √d) x_h: values are slices of the tokens",
        papers=(48,),
        family="expressive",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="fewer: no value projection",
        fast="saccade.core.attention",
        source="derived",
    )
    takes: ClassVar[tuple[str, ...]] = ("rotation",)

    def build(self) -> None:
        shape = self.shape
        if shape.dim % shape.heads:
            raise MechanismError(f"optimised needs dim to be a multiple of heads, found {shape.dim} and {shape.heads}")
        self.q = nn.Linear(shape.dim, shape.heads * shape.head_dim, bias=False)
        self.k = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.dim, shape.dim, bias=False)

    def project(self, x: Tensor, context: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and slices."""
        width = self.shape.head_dim
        q = self.position.queries(split_heads(self.q(x), width), view.q_pos)
        k = self.position.keys(split_heads(self.k(context), width), view.k_pos)
        return q, k, split_heads(context, self.shape.dim // self.shape.heads)

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        y: Tensor = self.out(merge_heads(written_out(*self.project(x, context, view), view)))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v = self.project(x, context, view)
        if state is not None:
            k, v, view = state.extend("k", k), state.extend("v", v), view.extended(state)
        y: Tensor = self.out(merge_heads(fused(q, k, v, view)))
        return y
