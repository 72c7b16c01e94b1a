"""Repeated sequences: what followed this symbol before?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask, symbols
from saccade.tasks.example import Example, Script
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class Induction(ChoiceTask):
    """A segment of distinct random symbols, then its beginning again: [A][B] ... [A] → [B] (Olsson et al. [211]).

    Difficulty: segments of 4, 8, 16, 32, 48 symbols. Spans `source` (the earlier occurrence of the last symbol) and
    `gold` (what followed it).
    """

    name: ClassVar[str] = "algorithmic/induction"
    papers: ClassVar[tuple[int, ...]] = (211,)

    alphabet: int = 64

    @property
    def length(self) -> int:
        return {1: 4, 2: 8, 3: 16, 4: 32, 5: 48}[self.difficulty]

    def build(self, rng: random.Random) -> Example:
        segment = rng.sample(symbols(self.alphabet), self.length)
        again = rng.randrange(1, self.length)
        script = Script()
        for i, word in enumerate(segment):
            script.write("text", word, *{again - 1: ("source",), again: ("gold",)}.get(i, ()))
        script.write("text", " ".join(segment[:again]), "repeat")
        return script.plain(segment[again], choices=tuple(segment))

    @property
    def chance(self) -> float:
        return 1 / self.length
