"""What a claim compares, as functions of its units, and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .registry import ClaimError

Units = NDArray[np.float64]
"""[units, columns]: one row for each example, or each run of training, measured independently of the others."""
Statistic = Callable[[Units], tuple[float, float, float]]
"""From units to (baseline, method, effect); a larger effect is better."""

RESAMPLES = 2000
LEVEL = 0.95


def gain(units: Units) -> tuple[float, float, float]:
    """Mean of the method (column 1) minus mean of the baseline (column 0); for metrics of which more is better.

    >>> gain(np.array([[0.0, 1.0], [0.5, 1.0]]))
    (0.25, 1.0, 0.75)
    """
    baseline, method = units.mean(0).tolist()
    return baseline, method, method - baseline


def drop(units: Units) -> tuple[float, float, float]:
    """Mean of the baseline minus mean of the method; for metrics of which less is better."""
    baseline, method = units.mean(0).tolist()
    return baseline, method, baseline - method


def saving(units: Units) -> tuple[float, float, float]:
    """Baseline over method, both as geometric means; for costs, which are positive.

    >>> [round(x, 6) for x in saving(np.array([[4.0, 2.0], [8.0, 2.0]]))]
    [5.656854, 2.0, 2.828427]
    """
    if (units <= 0).any():
        raise ClaimError(f"a ratio of costs needs costs above 0, found {units.min()}.")
    baseline, method = np.exp(np.log(units).mean(0)).tolist()
    return baseline, method, baseline / method


def interval(units: Units, statistic: Statistic, seed: int = 0) -> tuple[float, float]:
    """95% percentile bootstrap of the effect: units are drawn anew, whole rows, 2,000 times.

    >>> interval(np.array([[0.0, 1.0]] * 5), gain)
    (1.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(units), size=(RESAMPLES, len(units)))
    effects = [statistic(units[rows])[2] for rows in drawn]
    low, high = np.quantile(effects, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return low, high
