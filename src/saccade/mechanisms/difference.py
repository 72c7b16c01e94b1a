"""The learned factor λ of mechanisms that subtract one attention map from another (Differential Transformer)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Lambda(nn.Module):
    """λ = exp(λ_q1·λ_k1) − exp(λ_q2·λ_k2) + λ_init, one scalar from four vectors of ``width``, drawn from N(0, 0.1²).

    >>> float(Lambda(8, initial=0.5)(torch.float64) > 0)
    1.0
    """

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.vectors = nn.Parameter(torch.randn(4, width) * 0.1)

    def forward(self, dtype: torch.dtype) -> Tensor:
        """λ, computed in float32 or better, as a scalar of ``dtype``."""
        q1, k1, q2, k2 = self.vectors.to(torch.promote_types(self.vectors.dtype, torch.float32))
        value: Tensor = (q1 @ k1).exp() - (q2 @ k2).exp() + self.initial
        return value.to(dtype)


def initial_lambda(depth: int) -> float:
    """λ_init of the layer with ``depth`` layers below it: 0.8 − 0.6 exp(−0.3 depth).

    >>> initial_lambda(0), round(initial_lambda(20), 3)
    (0.20000000000000007, 0.799)
    """
    return 0.8 - 0.6 * math.exp(-0.3 * depth)
