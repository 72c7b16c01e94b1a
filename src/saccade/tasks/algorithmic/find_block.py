"""Find the block that holds all the letters asked for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import CONSONANTS, VOWELS
from saccade.tasks.example import Example, Script, TaskError
from saccade.tasks.task import Task, register


@register
@dataclass(frozen=True, kw_only=True)
class FindBlock(Task):
    """Blocks of random letters, then a few letters that only one block holds all of; answer that block [286].

    One key vector does not suffice to tell it: several letters must be found together. `target` is "all", "first" or
    "last" letter of the block. Difficulty: 4, 8, 16, 32, 64 blocks of `size` letters. Span `gold`: the block.
    """

    name: ClassVar[str] = "algorithmic/find_block"
    papers: ClassVar[tuple[int, ...]] = (286,)

    size: int = 5
    asked: int = 3
    target: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target not in ("all", "first", "last"):
            raise TaskError(f"target must be 'all', 'first' or 'last', found {self.target!r}")
        if not 2 <= self.asked <= self.size:
            raise TaskError(f"asked must be 2 to {self.size} (the block's size), found {self.asked}")

    def build(self, rng: random.Random) -> Example:
        letters = CONSONANTS + VOWELS
        own = rng.sample(letters, self.size)
        wanted = rng.sample(own, self.asked)
        blocks: list[list[str]] = []
        while len(blocks) < (2 << self.difficulty) - 1:
            block = rng.sample(letters, self.size)
            if not set(wanted) <= set(block):
                blocks.append(block)
        place = rng.randrange(len(blocks) + 1)
        blocks.insert(place, own)
        script = Script()
        for i, block in enumerate(blocks):
            script.write("text", " ".join(block), *(("gold",) if i == place else ()))
            script.write("text", ".")
        script.write("text", f"find {' '.join(wanted)}:", "query")
        answer = {"all": " ".join(own), "first": own[0], "last": own[-1]}[self.target]
        return script.plain(answer, choices=tuple(map(tuple, blocks)), blocks=len(blocks))

    def guess(self, example: Example, rng: random.Random) -> str:
        block: tuple[str, ...] = rng.choice(example.meta["choices"])
        return {"all": " ".join(block), "first": block[0], "last": block[-1]}[self.target]

    @property
    def chance(self) -> float:
        n = 2 << self.difficulty
        return 1 / n if self.target == "all" else 1 / n + (n - 1) / n / len(CONSONANTS + VOWELS)
