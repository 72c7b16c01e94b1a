"""What a claim returns: comparisons whose verdict follows from their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .registry import ClaimError
from .statistics import Statistic, Units, gain, interval


@dataclass(frozen=True, eq=False)
class Comparison:
    """A baseline and a method on the same units, and the bar that the effect has to clear.

    Attributes:
        metric: what is measured, with its unit.
        units: [units, columns], one row for each independent example or run; by default columns are baseline, method.
        bar: the least effect that supports the claim.
        statistic: from units to (baseline, method, effect).

    Example:
        >>> c = Comparison("accuracy", [[0.5, 0.9], [0.4, 0.9], [0.6, 0.9]], bar=0.2)
        >>> round(c.effect, 3), c.interval[0] >= 0.2, c.holds
        (0.4, True, True)
    """

    metric: str
    units: Units | Sequence[Sequence[float]]
    bar: float
    statistic: Statistic = gain

    def __post_init__(self) -> None:
        units = np.asarray(self.units, dtype=np.float64)
        if units.ndim != 2 or len(units) < 2 or not np.isfinite(units).all():
            raise ClaimError(
                f"{self.metric}: units are finite numbers [units, columns], two units at least; found {units.shape}, "
                f"{int((~np.isfinite(units)).sum())} of them not finite."
            )
        object.__setattr__(self, "units", units)

    @cached_property
    def values(self) -> tuple[float, float, float]:
        """Baseline, method, effect."""
        return self.statistic(np.asarray(self.units))

    @property
    def effect(self) -> float:
        """How much better the method is."""
        return self.values[2]

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95% bootstrap interval of the effect."""
        return interval(np.asarray(self.units), self.statistic)

    @property
    def holds(self) -> bool:
        """Whether the whole interval reaches the bar."""
        return self.interval[0] >= self.bar

    def summary(self) -> dict[str, Any]:
        """The numbers, as JSON values."""
        baseline, method, effect = self.values
        return {
            "holds": self.holds,
            "metric": self.metric,
            "baseline": baseline,
            "method": method,
            "effect": effect,
            "interval": list(self.interval),
            "bar": self.bar,
            "units": len(self.units),
        }


@dataclass(frozen=True, eq=False)
class Result:
    """A claim's outcome.

    Attributes:
        main: the comparison that the claim is about.
        also: others that have to hold too, such as controls.
        details: anything else worth keeping, as JSON values.
    """

    main: Comparison
    also: tuple[Comparison, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every comparison holds."""
        return all(one.holds for one in (self.main, *self.also))


def pool(results: Sequence[Result]) -> Result:
    """The results of several seeds as one: their units side by side, their details in a list."""
    if len(results) == 1:
        return results[0]
    rows = zip(*((one.main, *one.also) for one in results), strict=True)
    main, *also = (
        Comparison(
            same[0].metric, np.concatenate([np.asarray(one.units) for one in same]), same[0].bar, same[0].statistic
        )
        for same in rows
    )
    return Result(main, tuple(also), {"seeds": [one.details for one in results]})
