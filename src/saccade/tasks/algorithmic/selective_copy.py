"""Selective copy: repeat what is not blank."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import symbols
from saccade.tasks.example import Example, Script
from saccade.tasks.task import Task, register


@register
@dataclass(frozen=True, kw_only=True)
class SelectiveCopy(Task):
    """Symbols scattered among blanks `_`; the answer is the symbols in their order [76].

    Difficulty: 2, 4, 8, 12, 16 symbols; `blanks` times as many blanks. Span `gold`: the symbols.
    """

    name: ClassVar[str] = "algorithmic/selective_copy"
    papers: ClassVar[tuple[int, ...]] = (76,)

    alphabet: int = 16
    blanks: float = 3.0

    @property
    def count(self) -> int:
        return {1: 2, 2: 4, 3: 8, 4: 12, 5: 16}[self.difficulty]

    def build(self, rng: random.Random) -> Example:
        total = round(self.count * (1 + self.blanks))
        filled = set(rng.sample(range(total), self.count))
        script, copied = Script(), []
        for i in range(total):
            if i in filled:
                copied.append(rng.choice(symbols(self.alphabet)))
            script.write("text", copied[-1] if i in filled else "_", *(("gold",) if i in filled else ()))
        script.write("text", "copy:")
        return script.plain(" ".join(copied))

    def guess(self, example: Example, rng: random.Random) -> str:
        return " ".join(rng.choices(symbols(self.alphabet), k=self.count))

    @property
    def chance(self) -> float:
        return float(self.alphabet**-self.count)
