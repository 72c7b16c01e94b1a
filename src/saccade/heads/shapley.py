"""What each head adds to every coalition of the others: Shapley values by sampling (paper 158)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from rich.progress import track

from .ablation import ZeroAblation
from .fingerprint import fingerprint
from .headset import Head, HeadError, HeadSet, main_heads
from .scoring import Score, accuracy

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True)
class Shapley:
    """Shapley value of every head for a score v, by truncated Monte Carlo with a bandit's stop.

    .. math:: φ_h = E_π [ v(S_π(h) ∪ h) - v(S_π(h)) ]

    over random orders π in which heads are taken out one by one, S_π(h) the heads that still stand after h; heads that
    are out are zero. The values sum to v(all) - v(none), but for what truncation leaves out.

    * Truncation: once v has fallen to ``v(none) + truncation (v(all) - v(none))`` the rest of the order counts as 0;
      never where v(all) is not above v(none).
    * Bandit: a head whose confidence interval excludes 0 is settled. It still takes part in coalitions, but its own
      effect is not measured any more. Sampling ends when all are settled.

    Heads with a negative value interfere; ``found.negated().above(0.0)`` are they.

    Args:
        orders: most orders to sample.
        truncation: share of the way from nothing to all below which an order ends; 0 for never.
        level: confidence with which a head is settled.
        least: measurements of a head before it can be settled.
        score: v, ``score(lm, labelled set)``; each order takes the next batch of the data.
        seed: of the orders.

    Source: Held and Yang, "Shapley Head Pruning" (paper 158), after Ghorbani and Zou (2020). Differs: intervals are
    normal ones of the mean, for Bernstein bounds settle nothing at some hundred orders; and truncation is a share of
    the distance to v(none).
    """

    orders: int = 100
    truncation: float = 0.1
    level: float = 0.95
    least: int = 10
    score: Score = accuracy
    seed: int = 0
    name: ClassVar[str] = "shapley"

    def __post_init__(self) -> None:
        if self.orders < 1 or self.least < 2 or not 0 < self.level < 1 or not 0 <= self.truncation < 1:
            raise HeadError(
                f"Shapley needs orders >= 1, least >= 2, level in (0, 1), truncation in [0, 1); found {self}."
            )

    def __call__(self, lm: Host, data: Any, *, among: HeadSet | None = None, progress: bool = True) -> HeadSet:
        """Every head of the main stack (or of ``among``, the others standing always) with its value."""
        heads = [item.place for item in (main_heads(lm) if among is None else among.check(lm))]
        measured = self.samples(lm, data, heads, progress)
        values = [Head(*place, float(np.mean(taken)) if taken else 0.0) for place, taken in measured.items()]
        return HeadSet(values, self.name, fingerprint(lm))

    def samples(
        self, lm: Host, data: Any, heads: list[tuple[int | str, int]], progress: bool = True
    ) -> dict[tuple[int | str, int], list[float]]:
        """The marginal effects measured of each head, in the order they came."""
        if not data:
            raise HeadError("Shapley values need a labelled set, found no batch.")
        taken: dict[tuple[int | str, int], list[float]] = {place: [] for place in heads}
        draw = np.random.default_rng(self.seed)
        ends: dict[int, tuple[float, float]] = {}
        for number in track(range(self.orders), self.name, disable=not progress):
            open_heads = {place for place, effects in taken.items() if not self._settled(effects)}
            if not open_heads:
                break
            which = number % len(data)
            batch = [data[which]]
            if which not in ends:
                ends[which] = self._value(lm, batch, []), self._value(lm, batch, heads)
            full, none = ends[which]
            floor = none + self.truncation * (full - none) if self.truncation and full > none else -math.inf
            out: list[tuple[int | str, int]] = []
            standing: float | None = full
            for index in draw.permutation(len(heads)):
                place = heads[index]
                cut = standing is not None and standing <= floor
                if place in open_heads:
                    if cut:
                        taken[place].append(0.0)
                        continue
                    before = self._value(lm, batch, out) if standing is None else standing
                    standing = self._value(lm, batch, [*out, place])
                    taken[place].append(before - standing)
                elif not cut:
                    standing = None
                out.append(place)
        return taken

    def _value(self, lm: Host, batch: Any, out: list[tuple[int | str, int]]) -> float:
        if not out:
            return self.score(lm, batch)
        with lm.steer(ZeroAblation(HeadSet(out))):
            return self.score(lm, batch)

    def _settled(self, effects: list[float]) -> bool:
        if len(effects) < self.least:
            return False
        error = float(np.std(effects, ddof=1)) / math.sqrt(len(effects))
        return abs(float(np.mean(effects))) > NormalDist().inv_cdf(0.5 + self.level / 2) * error
