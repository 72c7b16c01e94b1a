"""[145, 208] Agreement between explanations, and what it does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.core.errors import MeasureError

WARNING = (
    "Agreement is not quality: two explanations can agree and both be wrong, or disagree and both be right about "
    "different things. Over many tokens of little weight, rank correlation mostly compares noise. Judge a method by "
    "what happens when its tokens are taken away (Deletion), and by people."
)
"""What papers 145 and 208 conclude; it is printed with every table of agreement."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Mean agreement between explanations of the same inputs.

    Attributes:
        names: the explanations.
        kendall: Kendall's tau-b, ``[M, M]``, mean over samples.
        spearman: Spearman's rank correlation, ``[M, M]``.
        overlap: share of the k most relevant tokens that two have in common, ``[M, M]``.
        samples: the same as ``kendall`` for each sample, ``[B, M, M]``.
        chance: the overlap that two random orders would have.
    """

    names: tuple[str, ...]
    kendall: NDArray[np.float64]
    spearman: NDArray[np.float64]
    overlap: NDArray[np.float64]
    samples: NDArray[np.float64]
    chance: float
    warning: str = WARNING

    def __str__(self) -> str:
        width = max(len(name) for name in self.names)
        head = " " * (width + 2) + " ".join(f"{index:>5}" for index in range(len(self.names)))
        rows = [
            f"{name:>{width}} {index} " + " ".join(f"{value:5.2f}" for value in row)
            for index, (name, row) in enumerate(zip(self.names, self.kendall, strict=True))
        ]
        return "\n".join(["Kendall's tau", head, *rows, self.warning])


def agreement(explanations: Mapping[str, Tensor], real: Tensor | None = None, top: float = 0.25) -> Agreement:
    """How far explanations of the same inputs agree, over the real tokens of each sample.

    Args:
        explanations: scores ``[B, N]`` by name.
        real: the tokens that count ``[B, N]``; leave padding and delimiters out.
        top: share of the tokens whose overlap is taken.

    Source: papers 145 and 208, which find that explanations of transformers hardly agree, and that rank correlation
    between them is no measure of their worth.

    Example:
        >>> a = torch.tensor([[0.1, 0.5, 0.2, 0.9]])
        >>> found = agreement({"one": a, "same": 2 * a, "opposite": -a})
        >>> found.kendall[0].tolist(), float(found.overlap[0, 2])
        ([1.0, 1.0, -1.0], 0.0)
    """
    names = tuple(explanations)
    shapes = {tuple(scores.shape) for scores in explanations.values()}
    if len(names) < 2 or len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise MeasureError(f"agreement compares two or more explanations [B, N], found {names} of shapes {shapes}.")
    stacked = torch.stack([scores.detach().float().cpu() for scores in explanations.values()], 1).double().numpy()
    keep = np.ones(stacked[:, 0].shape, bool) if real is None else real.cpu().numpy().astype(bool)
    count = len(names)
    kendall, spearman, overlap = (np.ones((len(stacked), count, count)) for _ in range(3))
    chances = []
    for sample, (scores, mask) in enumerate(zip(stacked, keep, strict=True)):
        rows = scores[:, mask]
        size = max(1, round(top * rows.shape[1]))
        best = [set(np.argsort(-row, kind="stable")[:size].tolist()) for row in rows]
        chances.append(size / rows.shape[1])
        for i in range(count):
            for j in range(i):
                kendall[sample, i, j] = kendall[sample, j, i] = kendall_tau(rows[i], rows[j])
                spearman[sample, i, j] = spearman[sample, j, i] = spearman_rho(rows[i], rows[j])
                overlap[sample, i, j] = overlap[sample, j, i] = len(best[i] & best[j]) / size
    return Agreement(names, kendall.mean(0), spearman.mean(0), overlap.mean(0), kendall, float(np.mean(chances)))


def kendall_tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Kendall's tau-b, with ties; 0 where one side is constant.

    Example:
        >>> kendall_tau(np.array([1.0, 2, 3]), np.array([1.0, 3, 2]))
        0.3333333333333333
    """
    x, y = np.sign(a[:, None] - a[None]), np.sign(b[:, None] - b[None])
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale else 0.0


def spearman_rho(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where one side is constant.

    Example:
        >>> spearman_rho(np.array([1.0, 2, 3]), np.array([1.0, 3, 2]))
        0.5
    """
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: NDArray[np.float64] = ((last - counts + last - 1) / 2.0)[inverse]
    return ranks
