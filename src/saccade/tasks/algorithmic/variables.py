"""Variable tracking: which names hold a value in the end?"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from saccade.tasks.algorithmic.needle import HAY
from saccade.tasks.example import Example, Script
from saccade.tasks.task import Task, register


@register
@dataclass(frozen=True, kw_only=True)
class Variables(Task):
    """Assignments scattered in idle prose; name all variables that hold a number (RULER's variable tracking).

    `chains` chains of `hops` + 1 variables each. Difficulty: 0, 10, 30, 100, 300 sentences of prose. Span `gold`: the
    chain's assignments.
    """

    name: ClassVar[str] = "algorithmic/variables"

    hops: int = 3
    chains: int = 2

    def build(self, rng: random.Random) -> Example:
        total = {1: 0, 2: 10, 3: 30, 4: 100, 5: 300}[self.difficulty]
        names = [f"X{n}" for n in rng.sample(range(10, 100), self.chains * (self.hops + 1))]
        chains = [names[i :: self.chains] for i in range(self.chains)]
        numbers = [str(n) for n in rng.sample(range(10000, 100000), self.chains)]
        queues = [
            [f"Let {c[0]} = {n}."] + [f"Let {b} = {a}." for a, b in pairwise(c)]
            for c, n in zip(chains, numbers, strict=True)
        ]
        order = [i for i, queue in enumerate(queues) for _ in queue] + [-1] * total
        rng.shuffle(order)
        script = Script()
        for i in order:
            script.write("text", rng.choice(HAY) if i < 0 else queues[i].pop(0), *(("gold",) if i == 0 else ()))
        script.write("text", f"Which variables equal {numbers[0]}?", "question")
        return script.plain(", ".join(chains[0]), names=tuple(chains[0]), all_names=tuple(names))

    def check(self, example: Example, reply: str) -> bool:
        """All the names, in any order, and no other."""
        return sorted(set(re.findall(r"X\d+", reply))) == sorted(example.meta["names"])

    def guess(self, example: Example, rng: random.Random) -> str:
        return ", ".join(rng.sample(example.meta["all_names"], self.hops + 1))

    @property
    def chance(self) -> float:
        wanted, total, result = self.hops + 1, self.chains * (self.hops + 1), 1.0
        for i in range(wanted):
            result *= (wanted - i) / (total - i)
        return result
