"""Softmax attention whose heads are weighted token by token: what mixtures over heads share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from saccade.mechanisms.base import upcast
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class GatedHeads(Layer):
    """y_i = W_O · concat_h γ_h(i) head_h(i), with head_h softmax attention; a subclass writes ``gates``."""

    takes: ClassVar[tuple[str, ...]] = ("rotation",)

    def build(self) -> None:
        shape = self.shape
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q = nn.Linear(shape.dim, wide, bias=False)
        self.k = nn.Linear(shape.dim, narrow, bias=False)
        self.v = nn.Linear(shape.dim, narrow, bias=False)
        self.out = nn.Linear(wide, shape.dim, bias=False)

    def gates(self, x: Tensor, view: View, state: State | None) -> Tensor:
        """γ [B,N,heads] of the queries x [B,N,dim]; reads and rewrites ``state`` where it depends on earlier tokens."""
        raise NotImplementedError

    def project(self, x: Tensor, context: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated q [B,H,Q,D] and k [B,Hkv,K,D], and v."""
        q, k, v = (
            split_heads(p(t), self.shape.head_dim) for p, t in ((self.q, x), (self.k, context), (self.v, context))
        )
        return self.position.queries(q, view.q_pos), self.position.keys(k, view.k_pos), v

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        heads = written_out(*self.project(x, context, view), view)
        return self.finish(heads, self.gates(x, view, None))

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        gates = self.gates(x, view, state)
        q, k, v = self.project(x, context, view)
        if state is not None:
            k, v, view = state.extend("k", k), state.extend("v", v), view.extended(state)
        q, k, v = upcast(q, k, v)
        return self.finish(fused(q, k, v, view).to(x.dtype), gates)

    def finish(self, heads: Tensor, gates: Tensor) -> Tensor:
        """Weigh the heads [B,H,N,D], merge, project."""
        y: Tensor = self.out(merge_heads(heads * gates.transpose(1, 2)[..., None]))
        return y
