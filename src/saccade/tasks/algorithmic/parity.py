"""Parity of a string of bits."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask
from saccade.tasks.example import Example, Script
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class Parity(ChoiceTask):
    """Is the number of ones even or odd? [300]

    Difficulty: up to 8, 16, 32, 64, 128 bits, at least half as many. Span `gold`: the ones.

    """

    name: ClassVar[str] = "algorithmic/parity"
    papers: ClassVar[tuple[int, ...]] = (300,)

    def build(self, rng: random.Random) -> Example:
        longest = 4 << self.difficulty
        bits = rng.choices("01", k=rng.randint(longest // 2, longest))
        script = Script()
        for bit in bits:
            script.write("text", bit, *(("gold",) if bit == "1" else ()))
        script.write("text", "parity:")
        return script.plain("odd" if bits.count("1") % 2 else "even", choices=("even", "odd"), length=len(bits))

    @property
    def chance(self) -> float:
        return 0.5
