"""Features chosen one at a time by attention weights (paper 109)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .headset import HeadError

FLOOR = 1e-6
"""Smallest λ."""


@dataclass(frozen=True)
class SequentialAttention:
    """Features chosen one at a time, each by the attention weight that it gets beside those that are in already.

    Features of the set S, chosen so far, count in full; the attention weights w of all others are trained with the
    coefficients, and both are penalised:

    .. math:: \\min_{β, w} \\tfrac12 \\|y - X (a ∘ β)\\|^2 + \\tfrac{λ}{2} (\\|w\\|^2 + \\|β_{\\bar S}\\|^2),
        \\qquad a_S = 1, \\; a_{\\bar S} = w

    λ falls until a weight survives, and the feature with the largest one joins S. The minimum over w and β of a given
    product is λ times its absolute value, so this is a lasso that leaves S free, and the first feature to enter is the
    one with the largest correlation with the residual: orthogonal matching pursuit, for columns of unit norm. The
    problem is solved as it stands, by least squares in β and w in turn; neither of these facts is used.

    Args:
        count: features to choose.
        fall: factor between one λ and the next.
        sweeps: alternations for each λ.
        alive: weight from which a feature counts as alive; λ falls as soon as too few are.

    Source: Yasuda et al., "Sequential Attention for Feature Selection" (paper 109), the regularised
    linear form, for which equality with matching pursuit is proved. Differs: the solver, and a sequence of λ, where the
    theorem takes the limit; the softmax form for neural networks is not here.

    Example:
        >>> import torch
        >>> x = torch.eye(4, dtype=torch.float64)
        >>> SequentialAttention(2).select(x, torch.tensor([0.1, -3.0, 0.5, 2.0], dtype=torch.float64))
        [1, 3]
    """

    count: int
    fall: float = 0.97
    sweeps: int = 40
    alive: float = 0.03

    def __post_init__(self) -> None:
        if self.count < 1 or self.sweeps < 1 or not 0 < self.fall < 1 or not self.alive > 0:
            raise HeadError(f"SequentialAttention needs count, sweeps >= 1, fall in (0, 1), alive > 0; found {self}.")

    def select(self, x: Tensor, y: Tensor) -> list[int]:
        """The chosen columns of ``x [n, features]`` for ``y [n]``, in the order in which they came; in float64.

        Columns and ``y`` are scaled to unit norm. Fewer are returned where the chosen ones leave nothing to explain.
        """
        if x.dim() != 2 or y.shape != x.shape[:1]:
            raise HeadError(f"features are [n, features] and targets [n], found {list(x.shape)} and {list(y.shape)}.")
        if self.count > x.shape[1]:
            raise HeadError(f"{self.count} features are asked for, but there are only {x.shape[1]}.")
        x, y = (nn.functional.normalize(part.double(), dim=0) for part in (x, y))
        chosen: list[int] = []
        for _ in range(self.count):
            basis = torch.linalg.qr(x[:, chosen]).Q
            inside, rest = x - basis @ (basis.T @ x), y - basis @ (basis.T @ y)
            if float((inside.T @ rest).abs().max()) < 1e-9:
                break
            weights = self.weights(inside, rest / rest.norm())
            weights[chosen] = 0.0
            chosen.append(int(weights.argmax()))
        return chosen

    def weights(self, x: Tensor, y: Tensor, count: int = 1) -> Tensor:
        """Attention weights ``[features]`` at the largest λ at which ``count`` of them are alive.

        ``x`` and ``y`` are of unit norm, or what is left of them once S is taken off.
        """
        gram, match = x.T @ x, x.T @ y
        eye, penalty = torch.eye(len(gram), dtype=x.dtype, device=x.device), 1.0
        weights = torch.ones_like(match)
        while penalty > FLOOR:
            weights = torch.ones_like(match)
            for _ in range(self.sweeps):
                for _ in ("coefficients", "weights"):
                    system = weights[:, None] * gram * weights + penalty * eye
                    weights = torch.linalg.solve(system, weights * match)
                if int((weights.abs() > self.alive).sum()) < count:
                    break
            else:
                return weights.abs()
            penalty *= self.fall
        return weights.abs()
