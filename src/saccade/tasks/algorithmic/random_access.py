"""Random access: the element at an index."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask, symbols
from saccade.tasks.example import Example, Script
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class RandomAccess(ChoiceTask):
    """An array of symbols and an index from 0; answer the element [300].

    With `labelled` every element follows its index, so that the content says the address and access by index is not
    needed. Difficulty: 8, 16, 32, 64, 128 elements. Span `gold`: the element.
    """

    name: ClassVar[str] = "algorithmic/random_access"
    papers: ClassVar[tuple[int, ...]] = (300,)

    alphabet: int = 32
    labelled: bool = False

    def build(self, rng: random.Random) -> Example:
        items = rng.choices(symbols(self.alphabet), k=4 << self.difficulty)
        index = rng.randrange(len(items))
        script = Script()
        for i, item in enumerate(items):
            if self.labelled:
                script.write("text", str(i))
            script.write("text", item, *(("gold",) if i == index else ()))
        script.write("text", f"element {index}:", "query")
        return script.plain(items[index], choices=symbols(self.alphabet), index=index)

    @property
    def chance(self) -> float:
        return 1 / self.alphabet
