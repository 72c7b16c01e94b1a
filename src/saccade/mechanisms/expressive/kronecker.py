"""Kronecker attention: softmax over pairs of tokens (paper 236)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View

TILE = 1 << 22


@dataclass(frozen=True)
class Options:
    """``scale`` of the logits; None: 1 / √d."""

    scale: float | None = None


class Kronecker(Layer):
    """out_i = Σ_jk A_ijk v1_j ⊙ v2_k, with A_i = softmax over all pairs (j, k) of Σ_d q_id k1_jd k2_kd.

    In the paper's words D⁻¹ exp(Q (K₁ ⊘ K₂)ᵀ) (V₁ ⊘ V₂), with ⊘ the column-wise Kronecker product: exact and cubic. The
    abstract has no scale and theorems bound the entries; here logits are scaled by 1 / √d unless told otherwise. There
    is no mask in the equation, hence no causal form here ("simplicial" has one).
    """

    info = Info(
        name="kronecker",
        summary="Σ_jk softmax_jk(Σ_d q_id k1_jd k2_kd / √d) v1_j ⊙ v2_k",
        papers=(236,),
        family="expressive",
        patterns=("self", "cross"),
        cost=3,
        decode="none",
        parameters="a second key and a second value projection",
        fast="the second key folds into the query: products of matrices, a few queries at a time",
    )
    Options: ClassVar[type[Any]] = Options

    def build(self) -> None:
        shape = self.shape
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q = nn.Linear(shape.dim, wide, bias=False)
        self.k = nn.Linear(shape.dim, narrow, bias=False)
        self.k2 = nn.Linear(shape.dim, narrow, bias=False)
        self.v = nn.Linear(shape.dim, narrow, bias=False)
        self.v2 = nn.Linear(shape.dim, narrow, bias=False)
        self.out = nn.Linear(wide, shape.dim, bias=False)

    def project(self, x: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Scaled q, then k1, k2, v1, v2, all [B,heads,N,d]."""
        width, groups = self.shape.head_dim, self.shape.groups
        scale = width**-0.5 if self.options.scale is None else self.options.scale
        pairs = (split_heads(p(context), width) for p in (self.k, self.k2, self.v, self.v2))
        return upcast(split_heads(self.q(x), width) * scale, *(t.repeat_interleave(groups, dim=1) for t in pairs))

    def weigh(self, logits: Tensor, pairs: Tensor | None) -> Tensor:
        """Weights [...,J,K] that add up to one over the visible pairs."""
        if pairs is not None:
            logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
        weights = logits.flatten(-2).softmax(dim=-1).view_as(logits)
        return weights if pairs is None else weights.masked_fill(~pairs, 0)

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, k1, k2, v1, v2 = self.project(x, context)
        pairs = None if view.mask is None else (view.mask[:, :, None] & view.mask[:, None, :])[:, None]
        rows = []
        for i in range(q.shape[2]):
            weights = self.weigh(torch.einsum("bhd,bhjd,bhkd->bhjk", q[:, :, i], k1, k2), pairs)
            rows.append(torch.einsum("bhjk,bhkd,bhjd->bhd", weights, v2, v1))
        y: Tensor = self.out(merge_heads(torch.stack(rows, dim=2)).to(x.dtype))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k1, k2, v1, v2 = (t[:, :, None] for t in self.project(x, context))
        pairs = None if view.mask is None else (view.mask[:, :, None] & view.mask[:, None, :])[:, None, None]
        rows = max(TILE // (k1.shape[0] * k1.shape[1] * k1.shape[3] ** 2), 1)
        tiles = []
        for part in q.transpose(2, 3).split(rows, dim=2):
            weights = self.weigh((part * k2) @ k1.transpose(-1, -2), pairs)
            tiles.append(((weights @ v1) * v2).sum(dim=-2))
        y: Tensor = self.out(merge_heads(torch.cat(tiles, dim=2)).to(x.dtype))
        return y
