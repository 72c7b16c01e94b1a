"""Kronecker attention in linear time: a polynomial in place of the exponential (paper 236)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.expressive.kronecker import Kronecker
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import merge_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``degree`` of the polynomial, even so that weights are positive; ``scale`` of the logits, None for 1 / √d."""

    degree: int = 2
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.degree < 2 or self.degree % 2:
            raise MechanismError(f"degree must be even and at least 2, found {self.degree}")


class KroneckerLinear(Kronecker):
    """Kronecker attention with p(S) = Σ_{g≤degree} S^g / g! for exp(S), S_ijk = Σ_d q_id k1_jd k2_kd / √d.

    S^g is a product of three features, x^⊗g of q, k1 and k2, so the sums over j and over k come apart:

    out_i = Σ_r φ_r(q_i) (Σ_j φ_r(k1_j) v1_j) ⊙ (Σ_k φ_r(k2_k) v2_k) / Σ_r φ_r(q_i) (Σ_j φ_r(k1_j)) (Σ_k φ_r(k2_k))

    O(n d^degree) work. This is the way of the paper's near-linear algorithm, which approximates exp to a given error
    where entries are bounded by o(∛log n); here the degree is given, and with it the error.
    """

    info = Info(
        name="kronecker-linear",
        summary="Σ_jk p(S_ijk) v1_j ⊙ v2_k / Σ_jk p(S_ijk), p the Taylor polynomial of exp",
        papers=(236,),
        family="expressive",
        patterns=("self", "cross"),
        cost=1,
        decode="none",
        parameters="a second key and a second value projection",
        fast="sums of features over the first and over the second token, apart",
        source="derived",
    )
    Options = Options

    def weigh(self, logits: Tensor, pairs: Tensor | None) -> Tensor:
        weights = 1 + logits / self.options.degree
        for g in range(self.options.degree - 1, 0, -1):
            weights = 1 + weights * logits / g
        weights = weights if pairs is None else weights.masked_fill(~pairs, 0)
        total = weights.sum(dim=(-2, -1), keepdim=True)
        normalised: Tensor = weights / total.masked_fill(total == 0, 1)
        return normalised

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k1, k2, v1, v2 = self.project(x, context)
        sums = [self.gather(k, v, view.mask) for k, v in ((k1, v1), (k2, v2))]
        mixed = self.features(q, weighted=True) @ (sums[0] * sums[1])
        total = mixed[..., -1:]
        y: Tensor = self.out(merge_heads(mixed[..., :-1] / total.masked_fill(total == 0, 1)).to(x.dtype))
        return y

    def gather(self, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Σ_j φ_r(k_j) [v_j, 1] over tokens, [B,heads,r,d+1]."""
        v = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
        v = v if mask is None else v * mask[:, None, :, None]
        return self.features(k).transpose(-1, -2) @ v

    def features(self, x: Tensor, weighted: bool = False) -> Tensor:
        """[1, x, x⊗x, ...] up to the degree, each part divided by g! where ``weighted``."""
        parts = [torch.ones_like(x[..., :1])]
        for _ in range(self.options.degree):
            parts.append((parts[-1][..., None] * x[..., None, :]).flatten(-2))
        return torch.cat([p / math.factorial(g) if weighted else p for g, p in enumerate(parts)], dim=-1)
