"""Dual attention: sensory heads beside relational heads (paper 71)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.dot_product import fused, repeat_heads
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``relational`` heads (None: half of all), ``relations`` (None: as many), ``symbols`` in the library.

    ``symmetric`` relations have one projection for both tokens, W_kℓ = W_qℓ: how alike two tokens are.
    """

    relational: int | None = None
    relations: int | None = None
    symbols: int = 64
    symmetric: bool = False

    def __post_init__(self) -> None:
        given = [n for n in (self.relational, self.relations, self.symbols) if n is not None]
        if min(given) < 1:
            raise MechanismError(f"relational, relations and symbols must be at least 1, found {self}")


class Dual(Layer):
    """Heads h of two kinds under one softmax α^h = softmax(q^h·k^h / √d), their outputs side by side before W_O:

    sensory     Σ_j α_ij W_v x_j
    relational  Σ_j α_ij (W_r r(x_i, x_j) + W_s s_j), with r_ℓ(x, y) = ⟨W_qℓ x, W_kℓ y⟩ / √d_r

    s_j is the symbol of token j, retrieved from a learned library: s = softmax(W x · templates / √d) · library, head by
    head. Relations are not activated (the paper's default) and have width d_r = d · relational / relations. The paper's
    code has one output projection a kind; here one contains both. Grouped heads share W_v and W_s as they share keys.
    """

    info = Info(
        name="dual",
        summary="heads that carry W_v x_j beside heads that carry relations r(x_i, x_j) and symbols",
        papers=(71,),
        family="expressive",
        patterns=("self", "self-causal"),
        cost=2,
        decode="cache",
        parameters="projections of relations and a library of symbols with templates",
        fast="Σ_j α_ij ⟨q_i, k_j⟩ = ⟨q_i, Σ_j α_ij k_j⟩: relations are values of saccade.core.attention",
    )
    Options = Options
    takes: ClassVar[tuple[str, ...]] = ("rotation",)

    def build(self) -> None:
        shape, options = self.shape, self.options
        self.relational = options.relational or max(shape.heads // 2, 1)
        self.relations = options.relations or self.relational
        if self.relational > shape.heads:
            raise MechanismError(f"relational={self.relational} heads were asked for, of heads={shape.heads} in all")
        self.width = max(shape.head_dim * self.relational // self.relations, 1)
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q = nn.Linear(shape.dim, wide, bias=False)
        self.k = nn.Linear(shape.dim, narrow, bias=False)
        self.v = nn.Linear(shape.dim, narrow, bias=False)
        self.q_relation = nn.Linear(shape.dim, self.relations * self.width, bias=False)
        if not options.symmetric:
            self.k_relation = nn.Linear(shape.dim, self.relations * self.width, bias=False)
        self.w_relation = nn.Parameter(
            torch.randn(self.relational, shape.head_dim, self.relations) * self.relations**-0.5
        )
        self.retrieve = nn.Linear(shape.dim, wide, bias=False)
        self.templates = nn.Parameter(torch.randn(shape.heads, options.symbols, shape.head_dim))
        self.library = nn.Parameter(torch.randn(options.symbols, shape.dim))
        self.out = nn.Linear(wide, shape.dim, bias=False)

    def symbols(self, x: Tensor) -> Tensor:
        """The symbol of each token [B,N,dim]: every head chooses its slice of the library's rows."""
        logits = split_heads(self.retrieve(x), self.shape.head_dim) @ self.templates.transpose(-1, -2)
        weights = masked_softmax(logits / math.sqrt(self.shape.head_dim), None)
        slices = self.library.tensor_split(self.shape.heads, dim=-1)
        return torch.cat([weights[:, h] @ part for h, part in enumerate(slices)], dim=-1)

    def project(self, x: Tensor, view: View) -> tuple[Tensor, ...]:
        """q, k, v [B,heads,N,d] (the values of relational heads are symbols), then q and k of relations [B,R,N,d_r]."""
        width, heads = self.shape.head_dim, self.shape.heads
        q = self.position.queries(split_heads(self.q(x), width), view.q_pos)
        k = self.position.keys(split_heads(self.k(x), width), view.k_pos)
        sensory, symbolic = (repeat_heads(split_heads(self.v(t), width), heads) for t in (x, self.symbols(x)))
        v = torch.cat([sensory[:, : heads - self.relational], symbolic[:, heads - self.relational :]], dim=1)
        left, right = self.q_relation, self.q_relation if self.options.symmetric else self.k_relation
        q_relation, k_relation = (split_heads(p(x), self.width) for p in (left, right))
        return q, repeat_heads(k, heads), v, q_relation / math.sqrt(self.width), k_relation

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, k, v, q_relation, k_relation = self.project(x, view)
        weights = masked_softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), view.visible())
        relations = q_relation @ k_relation.transpose(-1, -2)
        attended = torch.einsum("bhij,brij->bhir", weights[:, -self.relational :], relations)
        return self.finish(weights @ v, attended)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v, q_relation, k_relation = upcast(*self.project(x, view))
        if state is not None:
            k, v = state.extend("k", k), state.extend("v", v)
            k_relation, view = state.extend("k_relation", k_relation), view.extended(state)
        sensory = self.shape.heads - self.relational
        keys = repeat_heads(merge_heads(k_relation)[:, None], self.relational)
        mixed = fused(q[:, sensory:], k[:, sensory:], torch.cat([v[:, sensory:], keys], dim=-1), view)
        values, keys = mixed.split([v.shape[-1], keys.shape[-1]], dim=-1)
        if sensory:
            values = torch.cat([fused(q[:, :sensory], k[:, :sensory], v[:, :sensory], view), values], dim=1)
        attended = torch.einsum("brid,bhird->bhir", q_relation, keys.unflatten(-1, (self.relations, self.width)))
        return self.finish(values.to(x.dtype), attended.to(x.dtype))

    def finish(self, values: Tensor, attended: Tensor) -> Tensor:
        """Add W_r · attended relations [B,relational,N,R] to the relational heads, merge, project."""
        carried = torch.einsum("bhir,hdr->bhid", attended, self.w_relation)
        sensory = self.shape.heads - self.relational
        y: Tensor = self.out(merge_heads(torch.cat([values[:, :sensory], values[:, sensory:] + carried], dim=1)))
        return y
