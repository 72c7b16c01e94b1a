"""Multiple head embeddings: one projection for all heads, one embedding for each (paper 85)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Layer, merge_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``combine``: how an embedding enters; ``spread``: standard deviation of embeddings at the start."""

    combine: Literal["multiply", "add"] = "multiply"
    spread: float = 1.0

    def __post_init__(self) -> None:
        if self.combine not in ("multiply", "add"):
            raise MechanismError(f"combine must be 'multiply' or 'add', found {self.combine!r}")
        if self.spread <= 0:
            raise MechanismError(f"spread must be positive, or all heads begin alike; found {self.spread}")


class HeadEmbeddings(Layer):
    """Softmax attention whose head h has queries ψ(W_q x, e^q_h), keys ψ(W_k x, e^k_h) and values ψ(W_v x, e^v_h).

    ψ(t, e) = t ⊙ (1 + e) ("multiply") or t + e ("add"). W_q, W_k, W_v map dim to the width d of one head and serve all
    heads: beyond a single head this learns 3hd numbers, where multi-head attention learns (3h² − 3h) d² − 3hd more.
    The cache holds one shared key and value a token. In "add" without positions e^k shifts all logits of a row alike
    and e^v adds a constant: only e^q tells heads apart. The parameters counted in the abstract agree; how embeddings
    begin is not said there.
    """

    info = Info(
        name="head-embeddings",
        summary="softmax attention with q, k, v of head h = shared projection ⊙ (1 + e_h)",
        papers=(85,),
        family="heads",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="fewer: one projection for all heads, and an embedding of each head for q, k and v",
        fast="saccade.core.attention; without positions embeddings of keys move to queries, of values to outputs",
        source="derived",
    )
    Options = Options
    takes: ClassVar[tuple[str, ...]] = ("rotation",)

    def build(self) -> None:
        shape, spread = self.shape, self.options.spread
        self.q = nn.Linear(shape.dim, shape.head_dim, bias=False)
        self.k = nn.Linear(shape.dim, shape.head_dim, bias=False)
        self.v = nn.Linear(shape.dim, shape.head_dim, bias=False)
        self.q_heads = nn.Parameter(torch.randn(shape.heads, shape.head_dim) * spread)
        self.k_heads = nn.Parameter(torch.randn(shape.kv_heads, shape.head_dim) * spread)
        self.v_heads = nn.Parameter(torch.randn(shape.kv_heads, shape.head_dim) * spread)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)

    def combine(self, shared: Tensor, embeddings: Tensor) -> Tensor:
        """ψ of ``shared`` [B,1 or H,N,D] and ``embeddings`` [H,D], one for each head: [B,H,N,D]."""
        each = embeddings[:, None].to(shared.dtype)
        return shared * (1 + each) if self.options.combine == "multiply" else shared + each

    def attended(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated q [B,H,Q,D] and k [B,Hkv,K,D], and v, from shared ones [B,1,N,D]."""
        q, k, v = self.combine(q, self.q_heads), self.combine(k, self.k_heads), self.combine(v, self.v_heads)
        return self.position.queries(q, view.q_pos), self.position.keys(k, view.k_pos), v

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, k, v = (p(t)[:, None] for p, t in ((self.q, x), (self.k, context), (self.v, context)))
        y: Tensor = self.out(merge_heads(written_out(*self.attended(q, k, v, view), view)))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v = (p(t)[:, None] for p, t in ((self.q, x), (self.k, context), (self.v, context)))
        if state is not None:
            k, v, view = state.extend("k", k), state.extend("v", v), view.extended(state)
        q, k, v = upcast(q, k, v)
        if self.options.combine == "multiply" and self.position.kind == "none":
            keys, values = (t.repeat_interleave(self.shape.groups, dim=0) for t in (self.k_heads, self.v_heads))
            q = self.combine(self.combine(q, self.q_heads), keys)
            heads = self.combine(fused(q, k, v, view), values)
        else:
            heads = fused(*self.attended(q, k, v, view), view)
        y: Tensor = self.out(merge_heads(heads.to(x.dtype)))
        return y
