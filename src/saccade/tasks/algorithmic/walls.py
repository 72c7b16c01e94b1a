"""Connecting walls: sixteen words, four hidden groups, red herrings."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.example import Example, Script, TaskError, normalise
from saccade.tasks.task import Task, register

GROUPS = {
    "fruit": "apple pear cherry orange date lime peach plum kiwi fig",
    "colour": "red orange rose violet olive peach plum lime rust amber",
    "bird": "crane swift kiwi robin finch kite swallow duck jay lark",
    "flower": "rose violet iris daisy lily tulip poppy jasmine",
    "first name": "rose violet iris daisy lily robin jasmine amber jay heather mark",
    "metal": "iron lead gold silver tin copper nickel mercury",
    "planet": "mercury venus earth mars saturn neptune",
    "coin": "penny mark crown nickel dime pound franc",
    "unit": "pound yard foot mile stone inch knot",
    "building gear": "crane ladder hoist hammer drill winch",
    "verb of eating": "swallow chew bite gulp nibble munch",
    "toy": "kite yoyo doll marble puzzle top",
    "stone": "marble amber jade slate flint granite",
    "body": "foot crown palm nail temple calf iris",
    "tree": "palm olive oak fig plum cherry ash elm",
    "remains of fire": "ash smoke soot ember cinder",
    "young animal": "calf kid foal cub lamb duckling",
    "tool": "hammer drill nail saw iron file plane",
    "sport gear": "bat club racket ball puck glove",
    "night animal": "bat owl moth fox badger hedgehog",
}  # fmt: skip


@register
@dataclass(frozen=True, kw_only=True)
class Walls(Task):
    """Sixteen words to sort into four groups of four [81].

    A red herring is a word that would fit another group of the same wall too; difficulty 1 to 5 asks for at least 0, 1,
    2, 3, 4 of them. Every wall has exactly one solution. Groups are answered one a line, words parted by commas, in any
    order. Span `herrings`; meta: `groups`.
    """

    name: ClassVar[str] = "algorithmic/walls"
    papers: ClassVar[tuple[int, ...]] = (81,)

    def build(self, rng: random.Random) -> Example:
        members = {name: frozenset(words.split()) for name, words in GROUPS.items()}
        for _ in range(20000):
            chosen = rng.sample(sorted(members), 4)
            groups = self.deal(rng, [members[c] for c in chosen])
            if groups is None:
                continue
            words = [w for g in groups for w in g]
            herrings = [w for w in words if sum(w in members[c] for c in chosen) > 1]
            if len(herrings) >= self.difficulty - 1 and solutions(words, [members[c] for c in chosen]) == 1:
                return self.write(rng, dict(zip(chosen, groups, strict=True)), words, set(herrings))
        raise TaskError(f"no wall with {self.difficulty - 1} red herrings was found: lower the difficulty")

    @staticmethod
    def deal(rng: random.Random, pools: list[frozenset[str]]) -> list[list[str]] | None:
        taken: set[str] = set()
        groups = []
        for pool in pools:
            free = sorted(pool - taken)
            if len(free) < 4:
                return None
            groups.append(rng.sample(free, 4))
            taken |= set(groups[-1])
        return groups

    @staticmethod
    def write(rng: random.Random, groups: dict[str, list[str]], words: list[str], herrings: set[str]) -> Example:
        script = Script()
        script.write("text", "sort these sixteen words into four groups of four that belong together:")
        for word in rng.sample(words, len(words)):
            script.write("text", word, "words", *(("herrings",) if word in herrings else ()))
        answer = "\n".join(", ".join(g) for g in groups.values())
        return script.plain(answer, groups=groups, herrings=len(herrings))

    @staticmethod
    def partition(reply: str) -> set[frozenset[str]]:
        lines = [frozenset(normalise(line).replace(",", " ").split()) for line in reply.strip().splitlines()]
        return {line for line in lines if line}

    def check(self, example: Example, reply: str) -> bool:
        return self.partition(reply) == self.partition(example.answer)

    def solved(self, example: Example, reply: str) -> int:
        """How many of the four groups the reply has right."""
        return len(self.partition(reply) & self.partition(example.answer))

    def guess(self, example: Example, rng: random.Random) -> str:
        words = [w for g in example.meta["groups"].values() for w in g]
        rng.shuffle(words)
        return "\n".join(", ".join(words[i : i + 4]) for i in range(0, 16, 4))

    @property
    def chance(self) -> float:
        """One over 16! / (4!⁴ · 4!) partitions."""
        return 1 / 2627625


def solutions(words: list[str], pools: list[frozenset[str]]) -> int:
    """In how many ways the words go four each into the pools."""
    room = [4] * len(pools)

    def place(rest: list[str]) -> int:
        if not rest:
            return 1
        total = 0
        for i, pool in enumerate(pools):
            if room[i] and rest[0] in pool:
                room[i] -= 1
                total += place(rest[1:])
                room[i] += 1
        return total

    return place(sorted(words, key=lambda w: sum(w in p for p in pools)))
