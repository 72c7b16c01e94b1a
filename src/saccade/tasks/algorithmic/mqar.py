"""Multi-query associative recall."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask, symbols
from saccade.tasks.example import Example, Script
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class MQAR(ChoiceTask):
    """Pairs of key and value, then keys again, each to be followed by its value (Arora et al. [242]).

    The prompt ends at the last key asked for; the `queries` - 1 before it carry their values. Difficulty: 4, 8, 16, 32,
    64 pairs. Keys and values come from two disjoint halves of the alphabet. Spans `key` and `gold` (its value) in the
    list of pairs.
    """

    name: ClassVar[str] = "algorithmic/mqar"
    papers: ClassVar[tuple[int, ...]] = (242,)

    alphabet: int = 256
    queries: int = 2

    @property
    def pairs(self) -> int:
        return 2 << self.difficulty

    def build(self, rng: random.Random) -> Example:
        half = self.alphabet // 2
        words = symbols(self.alphabet)
        keys, values = rng.sample(words[:half], self.pairs), rng.choices(words[half:], k=self.pairs)
        asked = rng.sample(range(self.pairs), min(self.queries, self.pairs))
        script = Script()
        for i, (key, value) in enumerate(zip(keys, values, strict=True)):
            script.write("text", key, *(("key",) if i == asked[-1] else ()))
            script.write("text", value, *(("gold",) if i == asked[-1] else ()))
        for i in asked[:-1]:
            script.write("text", f"{keys[i]} {values[i]}")
        script.write("text", keys[asked[-1]], "query")
        return script.plain(values[asked[-1]], choices=words[half:])

    @property
    def chance(self) -> float:
        return 1 / (self.alphabet - self.alphabet // 2)
