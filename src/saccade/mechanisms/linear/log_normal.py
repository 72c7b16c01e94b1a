"""Linear log-normal attention: exponential features as concentrated as softmax (paper 149)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.linear.kernel import divide
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View

SLOPE, OFFSET = 0.14855178144710912, -0.35487039130661086


@dataclass(frozen=True)
class Options:
    """``block``: tokens of a block of softmax attention that is averaged with it ("LLN+Diag"); None: none."""

    block: int | None = None

    def __post_init__(self) -> None:
        if self.block is not None and self.block < 1:
            raise MechanismError(f"block must be at least 1 token, or None, found {self.block}")


class LogNormal(QKV):
    """o_i = Σ_j φ(q_i)·ψ(k_j) v_j / Σ_j φ(q_i)·ψ(k_j), with φ(q) = e^(αq) and ψ(k) = e^(βk) by element.

    Softmax weights are close to log-normal with Var(log) = σ_q² σ_k², and these have Var(log) = a (α²σ_q² + β²σ_k²) + b
    with constants a, b fitted by the authors. Moments match for α = σ̃/σ_q, β = σ̃/σ_k, σ̃² = (σ_q² σ_k² − b) / 2a.
    σ_q and σ_k are the standard deviations over the tokens and features of one head in one sample: they need the whole
    sequence, so the mechanism is not causal. a, b and σ̃ as in public code, which takes the deviations over the batch,
    so that samples touch each other, and cuts their gradient. With ``block`` the output is the mean of this and
    of softmax attention inside blocks of consecutive tokens (self-attention only).
    """

    info = Info(
        name="log-normal",
        summary="e^(αq)·e^(βk) with the spread of softmax's weights",
        papers=(149,),
        family="linear",
        patterns=("self", "cross"),
        cost=1,
        decode="none",
        fast="for each feature a softmax over tokens, keys times values first",
        source="derived",
    )
    Options = Options
    compact = True

    def build(self) -> None:
        if self.options.block is not None:
            self.info = replace(self.info, patterns=("self",))

    def logits(self, q: Tensor, k: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """αq and βk; βk is as low as can be for masked tokens."""
        of_q, of_k = spread(q, None if view.cross else view.mask), spread(k, view.mask)
        wanted = ((of_q * of_k).square() - OFFSET).div(2 * SLOPE).sqrt()
        q, k = wanted / of_q * q, wanted / of_k * k
        low = torch.finfo(k.dtype).min
        return q, k if view.mask is None else k.masked_fill(~view.mask[:, None, :, None], low)

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        left, right = self.logits(q, k, view)
        similarity = (left - left.amax(-1, keepdim=True)).exp() @ (right - right.amax((-2, -1), keepdim=True)).exp().mT
        out, block = divide(similarity, similarity.sum(-1, keepdim=True)) @ v, self.options.block
        if block is None:
            return out
        index = torch.arange(q.shape[-2], device=q.device) // block
        near, visible = index[:, None] == index, view.visible()
        weights = masked_softmax(q @ k.mT * q.shape[-1] ** -0.5, near if visible is None else near & visible)
        return (out + weights @ v) / 2

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        left, right = self.logits(q, k, view)
        means = right.softmax(-2).mT @ v
        out = (left + right.logsumexp(-2, keepdim=True)).softmax(-1) @ means
        if self.options.block is None:
            return out
        return (out + block_softmax(q, k, v, view.mask, self.options.block)) / 2


def spread(x: Tensor, mask: Tensor | None) -> Tensor:
    """Standard deviation over tokens and features, [B,H,1,1], at least 1e-6."""
    if mask is None:
        return x.var((-2, -1), correction=0, keepdim=True).clamp_min(1e-12).sqrt()
    tokens = mask[:, None, :, None].to(x.dtype)
    count = tokens.sum((-2, -1), keepdim=True).clamp_min(1) * x.shape[-1]
    mean = (x * tokens).sum((-2, -1), keepdim=True) / count
    return (((x - mean) * tokens).square().sum((-2, -1), keepdim=True) / count).clamp_min(1e-12).sqrt()


def block_softmax(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, block: int) -> Tensor:
    """Softmax attention within blocks of ``block`` consecutive tokens, [B,H,N,Dv]."""
    n = q.shape[-2]
    pad = -n % block
    real = torch.ones(1, n, dtype=torch.bool, device=q.device) if mask is None else mask
    q, k, v = (F.pad(t, (0, 0, 0, pad)).unflatten(-2, (-1, block)) for t in (q, k, v))
    real = F.pad(real, (0, pad)).unflatten(-1, (-1, block))[:, None, :, None, :]
    return (masked_softmax(q @ k.mT * q.shape[-1] ** -0.5, real) @ v).flatten(2, 3)[:, :, :n]
