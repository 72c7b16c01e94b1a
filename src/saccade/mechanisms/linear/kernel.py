"""Kernel attention: Σ_j (φ(q_i)·ψ(k_j)) v_j in linear time, for every pattern."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scan import chunked_linear
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View, where_tokens


@dataclass(frozen=True)
class Chunked:
    """``chunk``: tokens per tile; it changes speed, not results."""

    chunk: int = 128

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise MechanismError(f"chunk must be at least 1 token, found {self.chunk}")


class Kernel(QKV):
    """o_i = Σ_j s(q_i, k_j) v_j / Σ_j s(q_i, k_j) over the keys that i sees, with s(q, k) = φ(q)·ψ(k).

    Override ``features``; and ``similarity`` where s has a plainer form than a product of features.
    """

    Options = Chunked

    def features(self, q: Tensor, k: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """φ(q) [B,H,Q,F] and ψ(k) [B,H,K,F]."""
        raise NotImplementedError

    def similarity(self, q: Tensor, k: Tensor, view: View) -> Tensor:
        """s [B,H,Q,K] for every pair."""
        left, right = self.features(q, k, view)
        return left @ right.transpose(-1, -2)

    def weights(self, q: Tensor, k: Tensor, view: View) -> Tensor:
        """What each query gives to each key [B,H,Q,K], zero where it does not see it."""
        similarity = view.hide(self.similarity(q, k, view))
        return divide(similarity, similarity.sum(-1, keepdim=True))

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        """All weights, then their products with the values."""
        return self.weights(q, k, view) @ v

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        """The key-value products summed first."""
        left, right = self.features(q, k, view)
        return normalised_sum(left, right, v, view, state, self.options.chunk)


def kernel_sum(q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None = None, chunk: int = 128) -> Tensor:
    """Σ_j (q_i·k_j) v_j over the keys that i sees, [B,H,Q,Dv]; q [B,H,Q,F] and k [B,H,K,F] are features.

    ``state`` holds the F × Dv memory of the tokens before.
    """
    k = where_tokens(k, view.mask)
    if not view.causal:
        return q @ (k.transpose(-1, -2) @ v)
    queries, keys = q.shape[-2], k.shape[-2]
    aligned = F.pad(q, (0, 0, keys - queries, 0)) if view.cross else q
    out, memory = chunked_linear(aligned, k, v, memory=None if state is None else state.get("memory"), chunk=chunk)
    if state is not None:
        state["memory"] = memory
    return F.pad(out, (0, 0, queries - keys, 0)) if view.cross else out


def normalised_sum(q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None = None, chunk: int = 128) -> Tensor:
    """``kernel_sum`` divided by Σ_j q_i·k_j."""
    both = kernel_sum(q, k, torch.cat([v, torch.ones_like(v[..., :1])], dim=-1), view, state, chunk)
    return divide(both[..., :-1], both[..., -1:])


def divide(x: Tensor, total: Tensor) -> Tensor:
    """x / total, and x where total is zero."""
    return x / total.masked_fill(total == 0, 1)


def taylor_features(x: Tensor, order: int) -> Tensor:
    """Features whose product is Σ_{l≤order} (x·y)^l / l!, order 1 or 2: 1 + D (+ D(D+1)/2) of them.

    >>> x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
    >>> (taylor_features(x, 2) * taylor_features(y, 2)).sum()
    tensor(2.5000)
    """
    parts = [torch.ones_like(x[..., :1]), x]
    if order == 2:
        i, j = torch.triu_indices(x.shape[-1], x.shape[-1], device=x.device)
        twice = torch.ones(len(i), dtype=x.dtype, device=x.device).masked_fill(i == j, 0.5**0.5)
        parts.append(x[..., i] * x[..., j] * twice)
    return torch.cat(parts, dim=-1)


def taylor(x: Tensor, order: int) -> Tensor:
    """1 + x, and + x² / 2 for order 2."""
    return 1 + x + (x.square() / 2 if order == 2 else 0)
