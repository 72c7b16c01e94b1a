"""Counting: how often was a variable raised since it was set?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask, symbols
from saccade.tasks.example import Example, Script
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class Counting(ChoiceTask):
    """How often was a variable raised since it was last set, 0 to `top`? [76]

    The steps are `set x`, `raise x` and `pass`; `read x` asks.

    Difficulty: 8, 16, 32, 64, 128 steps. Spans `reset` (the last `set x`) and `gold` (the `raise x` after it, if any).
    """

    name: ClassVar[str] = "algorithmic/counting"
    papers: ClassVar[tuple[int, ...]] = (76,)

    variables: int = 2
    passes: float = 0.3
    top: int = 9

    def build(self, rng: random.Random) -> Example:
        total = 4 << self.difficulty
        names = rng.sample(symbols(26), self.variables)
        asked = names[0]
        count = rng.randint(0, min(self.top, total - 1))
        after = [f"raise {asked}"] * count
        spare = total - count - 1
        late = rng.randint(0, spare)
        after += [self.filler(rng, names[1:]) for _ in range(late)]
        rng.shuffle(after)
        before = [self.filler(rng, names) for _ in range(spare - late)]
        script = Script()
        for step in before:
            script.write("text", f"{step};")
        script.write("text", f"set {asked};", "reset")
        for step in after:
            script.write("text", f"{step};", *(("gold",) if step == f"raise {asked}" else ()))
        script.write("text", f"read {asked}:", "query")
        return script.plain(str(count), choices=tuple(map(str, range(self.top + 1))))

    def filler(self, rng: random.Random, names: list[str]) -> str:
        if not names or rng.random() < self.passes:
            return "pass"
        return f"{rng.choices(('raise', 'set'), (4, 1))[0]} {rng.choice(names)}"

    @property
    def chance(self) -> float:
        return 1 / (self.top + 1)
