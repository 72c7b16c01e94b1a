"""Needles in a haystack: one, several keys, several values."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import symbols
from saccade.tasks.example import Example, Script
from saccade.tasks.task import Task, register

HAY = (
    "The ferry was late and nobody minded.",
    "A kettle hissed in the back room.",
    "Rain had washed the chalk from the pavement.",
    "They counted the sheep twice and got two answers.",
    "The clock above the bakery had stopped at noon.",
    "Someone had left a bicycle against the wall.",
    "Fog came up the valley before breakfast.",
    "The old map showed a road that was not there.",
    "Her brother kept bees behind the school.",
    "It was too warm for a coat.",
)


@register
@dataclass(frozen=True, kw_only=True)
class Needle(Task):
    """Sentences that give a number for a key, hidden in idle prose; answer the number or numbers of one key.

    `keys` > 1 adds needles of other keys, `values` > 1 gives the key asked for several numbers, all of which are
    wanted: the single, multi-key and multi-value families of the RULER benchmark. `depth` places the (first) needle, 0
    start to 1 end. Difficulty: 10, 30, 100, 300, 1000 sentences. Spans `gold` (needles), `value` (their numbers).
    """

    name: ClassVar[str] = "algorithmic/needle"
    papers: ClassVar[tuple[int, ...]] = (188,)

    keys: int = 1
    values: int = 1
    depth: float | None = None

    def build(self, rng: random.Random) -> Example:
        total = {1: 10, 2: 30, 3: 100, 4: 300, 5: 1000}[self.difficulty]
        keys = rng.sample(symbols(200), self.keys)
        numbers = [str(n) for n in rng.sample(range(10000, 100000), self.keys - 1 + self.values)]
        needles = [(keys[0], n) for n in numbers[: self.values]] + list(
            zip(keys[1:], numbers[self.values :], strict=True)
        )
        places = [rng.randrange(total + 1) for _ in needles]
        if self.depth is not None:
            places[0] = round(self.depth * total)
        lines = [("", rng.choice(HAY)) for _ in range(total)]
        for at, needle in sorted(zip(places, needles, strict=True), reverse=True):
            lines.insert(at, needle)
        script, found = Script(), []
        for key, text in lines:
            own = key == keys[0]
            found += [text] if own else []
            sentence = f"The secret number of {key} is {text}." if key else text
            script.write("text", sentence, *(("gold",) if own else ()), inside={"value": text} if own else None)
        plural = ("are", "numbers") if self.values > 1 else ("is", "number")
        script.write("text", f"What {plural[0]} the secret {plural[1]} of {keys[0]}?", "question")
        return script.plain(", ".join(found), values=tuple(found), sentences=total)

    def check(self, example: Example, reply: str) -> bool:
        """All the numbers wanted, in any order, and no other."""
        return sorted(re.findall(r"\d+", reply)) == sorted(example.meta["values"])

    def guess(self, example: Example, rng: random.Random) -> str:
        """Numbers of the right count among all five-digit numbers."""
        return ", ".join(str(rng.randrange(10000, 100000)) for _ in range(self.values))

    @property
    def chance(self) -> float:
        total = 1.0
        for i in range(self.values):
            total *= (self.values - i) / 90000
        return total
