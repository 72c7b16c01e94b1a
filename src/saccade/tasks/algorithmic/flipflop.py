"""Flip-flop language: read back the last bit written."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask
from saccade.tasks.example import Example, Script
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class FlipFlop(ChoiceTask):
    """Steps `w b` (write), `i b` (ignore) and `r b` (read: repeat the bit written last) (Liu et al. [178]).

    Starts with a write and ends with `r`; `ignore` is the share of ignored steps, the others being writes and reads
    alike. Difficulty: 8, 16, 32, 64, 128 steps. Spans `write` and `gold` (its bit).
    """

    name: ClassVar[str] = "algorithmic/flipflop"
    papers: ClassVar[tuple[int, ...]] = (178,)

    ignore: float = 0.8

    def build(self, rng: random.Random) -> Example:
        steps = 4 << self.difficulty
        rest = (1 - self.ignore) / 2
        kinds = ["w", *rng.choices("wir", (rest, self.ignore, rest), k=steps - 2)]
        last = max(i for i, k in enumerate(kinds) if k == "w")
        bit, script = "", Script()
        for i, kind in enumerate(kinds):
            shown = bit if kind == "r" else rng.choice("01")
            bit = shown if kind == "w" else bit
            script.write("text", kind, *(("write",) if i == last else ()))
            script.write("text", shown, *(("gold",) if i == last else ()))
        script.write("text", "r", "query")
        return script.plain(bit, choices=("0", "1"), distance=steps - 1 - last)

    @property
    def chance(self) -> float:
        return 0.5
