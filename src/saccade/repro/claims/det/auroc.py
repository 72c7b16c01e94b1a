"""Area under the ROC curve as a statistic of units."""

from __future__ import annotations

from scipy.stats import rankdata

from saccade.repro.statistics import Units


def area(units: Units, column: int) -> float:
    """Probability that a case (label 1 in column 0) scores above a non-case, ties by halves; 0.5 where one is missing.

    >>> import numpy as np
    >>> area(np.array([[0, 0.1], [1, 0.4], [0, 0.35], [1, 0.8]]), 1)
    1.0
    """
    case = units[:, 0] > 0.5
    cases, others = int(case.sum()), int((~case).sum())
    if not cases or not others:
        return 0.5
    ranks = rankdata(units[:, column])[case].sum()
    return float((ranks - cases * (cases + 1) / 2) / (cases * others))


def above_chance(units: Units) -> tuple[float, float, float]:
    """Columns label, score: 0.5, the area, and how far it lies above."""
    found = area(units, 1)
    return 0.5, found, found - 0.5


def above_other(units: Units) -> tuple[float, float, float]:
    """Columns label, score of another detector, score: both areas, and the difference."""
    other, found = area(units, 1), area(units, 2)
    return other, found, found - other
