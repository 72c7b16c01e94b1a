"""Sums and differences of small numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from saccade.tasks.example import Example, Script
from saccade.tasks.task import register
from saccade.tasks.world.base import WorldTask


@register
@dataclass(frozen=True, kw_only=True)
class Arithmetic(WorldTask):
    """`what is 12 plus 7?` [129]. Difficulty: operands up to 5, 10, 15, 20, 30; from 3 on also `minus`.

    Spans `first`, `operator`, `second`.
    """

    name: ClassVar[str] = "world/arithmetic"
    papers: ClassVar[tuple[int, ...]] = (129,)

    @property
    def top(self) -> int:
        return {1: 5, 2: 10, 3: 15, 4: 20, 5: 30}[self.difficulty]

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        script = Script()
        for number in range(self.questions):
            a, b = rng.randint(0, self.top), rng.randint(0, self.top)
            minus = self.difficulty >= 3 and rng.random() < 0.5
            a, b = (max(a, b), min(a, b)) if minus else (a, b)
            script.write("user", "what is")
            for name, word in (("first", str(a)), ("operator", "minus" if minus else "plus"), ("second", str(b))):
                script.write("user", word, *((name,) if number == self.questions - 1 else ()))
            script.turns[-1][1] += "?"
            script.write("assistant", str(a - b if minus else a + b))
        return script, {"operator": "minus" if minus else "plus", "operands": (a, b)}

    def guess(self, example: Example, rng: random.Random) -> str:
        return str(rng.randint(0, 2 * self.top))

    @property
    def chance(self) -> float:
        return 1 / (2 * self.top + 1)
