"""How concentrated attention weights are: the measures of linear log-normal attention (paper 149).

All take weights [..., Q, K] whose rows sum to 1 and work in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.qkv import QKV


def entropy(weights: Tensor) -> Tensor:
    """−Σ_j p_ij log p_ij in nats, a mean over the rows that sum to something: [...]. Low is concentrated.

    >>> entropy(torch.full((3, 4), 0.25)).exp()
    tensor(4., dtype=torch.float64)
    """
    p = weights.double()
    rows, seen = torch.special.entr(p).sum(-1), p.sum(-1) > 0
    mean: Tensor = (rows * seen).sum(-1) / seen.sum(-1).clamp_min(1)
    return mean


def spectral_gap(weights: Tensor) -> Tensor:
    """1 − |λ₂|, λ₂ the second largest eigenvalue by modulus of a square row-stochastic matrix: [...].

    1 where every row is the same (all mix at once), 0 where the tokens fall into groups that do not mix.

    >>> spectral_gap(torch.full((4, 4), 0.25)).round(decimals=6), spectral_gap(torch.eye(4))
    (tensor(1., dtype=torch.float64), tensor(0., dtype=torch.float64))
    """
    if weights.shape[-1] != weights.shape[-2] or weights.shape[-1] < 2:
        raise MechanismError(f"the spectral gap needs square weights of 2 tokens or more, found {list(weights.shape)}")
    moduli: Tensor = torch.linalg.eigvals(weights.double()).abs().sort(dim=-1, descending=True).values
    return 1 - moduli[..., 1]


def log_variance(weights: Tensor) -> Tensor:
    """Variance of log p_ij over the weights that are not zero: [...]. σ² of the log-normal that fits them.

    >>> log_variance(torch.full((3, 4), 0.25))
    tensor(0., dtype=torch.float64)
    """
    p = weights.double()
    seen = p > 0
    log = torch.where(seen, p, 1).log()
    count = seen.sum((-2, -1)).clamp_min(1)
    mean = log.sum((-2, -1)) / count
    variance: Tensor = ((log - mean[..., None, None]).square() * seen).sum((-2, -1)) / count
    return variance


def weights_of(mechanism: QKV, q: Tensor, k: Tensor, *, causal: bool, mask: Tensor | None = None) -> Tensor:
    """The weights [B,H,Q,K] of a mechanism that is linear in its values, read off with the identity for values.

    >>> from saccade.mechanisms import Shape, build
    >>> q, k = torch.randn(2, 1, 2, 5, 4)
    >>> weights_of(build("hedgehog", Shape(8, 2)), q, k, causal=False).sum(-1).allclose(torch.ones(1, 2, 5))
    True
    """
    eye = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device).expand(*k.shape[:2], -1, -1)
    weights: Tensor = mechanism(q, k, eye, causal=causal, mask=mask)
    return weights
