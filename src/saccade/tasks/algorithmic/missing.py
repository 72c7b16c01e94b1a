"""Missing items: name what is not in the list."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask
from saccade.tasks.example import Example, Script, normalise
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class Missing(ChoiceTask):
    """The numbers 1 to n in random order without one; answer the one [154]. Difficulty: n = 8, 16, 32, 64, 128.

    Span `items`: the whole list, for all of it must be attended to at once.
    """

    name: ClassVar[str] = "algorithmic/missing"
    papers: ClassVar[tuple[int, ...]] = (154,)

    @property
    def top(self) -> int:
        return 4 << self.difficulty

    def build(self, rng: random.Random) -> Example:
        numbers = [str(i) for i in range(1, self.top + 1)]
        rng.shuffle(numbers)
        gone = numbers.pop()
        script = Script()
        script.write("text", f"numbers from 1 to {self.top}:")
        script.write("text", " ".join(numbers), "items")
        script.write("text", "missing:")
        return script.plain(gone, choices=tuple(map(str, range(1, self.top + 1))))

    def repeated(self, example: Example, reply: str) -> bool:
        """Whether the reply names a number that is in the list: the overflow of attention."""
        return normalise(reply) in example.meta["choices"] and not self.check(example, reply)

    @property
    def chance(self) -> float:
        return 1 / self.top
