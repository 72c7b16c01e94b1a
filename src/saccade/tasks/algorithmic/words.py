"""Common words and frequent words: aggregation over the whole context."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import symbols
from saccade.tasks.example import Example, Script, TaskError, normalise
from saccade.tasks.task import Task, register


@register
@dataclass(frozen=True, kw_only=True)
class Words(Task):
    """A long list of words; name the `wanted` that occur most often (RULER's aggregation families).

    `law="common"`: the wanted words occur `often` times each and all others `seldom` times. `law="frequent"`: counts
    fall as rank^-2. Difficulty: 50, 100, 200, 400, 800 words in all. Span `gold`: the occurrences of the wanted words.
    """

    name: ClassVar[str] = "algorithmic/words"

    wanted: int = 3
    law: str = "common"
    often: int = 10
    seldom: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.law not in ("common", "frequent"):
            raise TaskError(f"law must be 'common' or 'frequent', found {self.law!r}")
        if self.seldom >= self.often:
            raise TaskError(f"seldom ({self.seldom}) must be below often ({self.often})")

    def counts(self) -> list[int]:
        """How often each word occurs, the wanted ones first; strictly more often than the rest."""
        total = 25 * 2**self.difficulty
        if self.law == "common":
            return [self.often] * self.wanted + [self.seldom] * ((total - self.often * self.wanted) // self.seldom)
        shares = [total * 0.6 / rank**2 for rank in range(1, self.wanted + 1)]
        top = [max(2 + self.wanted - i, round(s)) for i, s in enumerate(shares)]
        return top + [1] * max(total - sum(top), 1)

    def build(self, rng: random.Random) -> Example:
        counts = self.counts()
        words = rng.sample(symbols(max(1000, len(counts))), len(counts))
        listed = [w for w, n in zip(words, counts, strict=True) for _ in range(n)]
        rng.shuffle(listed)
        best = words[: self.wanted]
        script = Script()
        for word in listed:
            script.write("text", word, *(("gold",) if word in best else ()))
        script.write("text", f"the {self.wanted} words above that occur most often:", "question")
        return script.plain(" ".join(best), counts=dict(Counter(listed)))

    def check(self, example: Example, reply: str) -> bool:
        """The wanted words in any order and no other."""
        return sorted(w for w in normalise(reply).split() if w != ",") == sorted(example.answer.split())

    def guess(self, example: Example, rng: random.Random) -> str:
        return " ".join(rng.sample(sorted(example.meta["counts"]), self.wanted))

    @property
    def chance(self) -> float:
        return 1 / math.comb(len(self.counts()), self.wanted)
