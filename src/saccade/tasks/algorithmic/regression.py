"""In-context linear regression."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from saccade.tasks.example import Example, Script
from saccade.tasks.task import Task, register


@register
@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """Pairs x → y with y = w·x + noise, then an x; answer its y [330].

    w ~ N(0, I/d) is new in every example, x ~ N(0, I). A reply counts within `tolerance` standard deviations of y (its
    standard deviation is 1). Difficulty: d = 1, 2, 3, 5, 8 with `ratio`·d pairs. meta holds the exact `x` [n+1, d] and
    `y` [n+1]; the text rounds to two places. Span `pairs`: the demonstrations.
    """

    name: ClassVar[str] = "algorithmic/regression"
    papers: ClassVar[tuple[int, ...]] = (330,)

    noise: float = 0.0
    ratio: int = 4
    tolerance: float = 0.25

    @property
    def width(self) -> int:
        return {1: 1, 2: 2, 3: 3, 4: 5, 5: 8}[self.difficulty]

    def build(self, rng: random.Random) -> Example:
        numbers = np.random.default_rng(rng.getrandbits(64))
        count, d = self.ratio * self.width, self.width
        x = numbers.normal(size=(count + 1, d))
        w = numbers.normal(size=d) / math.sqrt(d)
        y = x @ w
        y[:-1] += self.noise * numbers.normal(size=count)
        script = Script()
        for row, target in zip(x[:-1], y[:-1], strict=True):
            script.write("text", f"{self.show(*row)} -> {self.show(target)};", "pairs")
        script.write("text", f"{self.show(*x[-1])} ->", "query")
        return script.plain(self.show(y[-1]), x=x, y=y, weights=w)

    @staticmethod
    def show(*values: float) -> str:
        return " ".join(f"{v:.2f}" for v in values)

    def check(self, example: Example, reply: str) -> bool:
        try:
            return bool(abs(float(reply) - example.meta["y"][-1]) <= self.tolerance)
        except ValueError:
            return False

    def least_squares(self, example: Example) -> str:
        """The minimum-norm least-squares reply, exact where there is no noise."""
        x, y = example.meta["x"], example.meta["y"]
        return self.show(float(x[-1] @ np.linalg.lstsq(x[:-1], y[:-1], rcond=None)[0]))

    def guess(self, example: Example, rng: random.Random) -> str:
        """A draw from the law of y given x alone: normal with variance |x|²/d."""
        return self.show(rng.gauss(0, float(np.linalg.norm(example.meta["x"][-1])) / math.sqrt(self.width)))

    @property
    def chance(self) -> float:
        """Mean of erf(tolerance / 2s), s² = |x|²/d, over 2,000 draws of x: two normals of deviation s agree."""
        x = np.random.default_rng(0).normal(size=(2000, self.width))
        spread = np.linalg.norm(x, axis=1) / math.sqrt(self.width)
        return float(np.mean([math.erf(self.tolerance / (2 * s)) for s in spread]))
