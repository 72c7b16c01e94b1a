"""One question, several answers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from saccade.tasks.example import Example, Script, TaskError, normalise
from saccade.tasks.task import register
from saccade.tasks.world.base import WorldTask
from saccade.tasks.world.facts import draw_facts, stable_towns
from saccade.tasks.world.lexicon import lexicon


@register
@dataclass(frozen=True, kw_only=True)
class Lists(WorldTask):
    """What are the three towns of a land? [101]

    From the weights (`source="memory"`) or from a document that scatters them ("context").

    Any order counts, each town once. In the context they are learnt in order of appearance.
    """

    name: ClassVar[str] = "world/lists"
    papers: ClassVar[tuple[int, ...]] = (101,)

    source: str = "memory"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source not in ("memory", "context"):
            raise TaskError(f"source must be 'memory' or 'context', found {self.source!r}")

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        script = Script()
        lex = lexicon()
        if self.source == "memory":
            towns = {land: stable_towns()[land] for land in rng.sample(sorted(stable_towns()), self.questions)}
        else:
            lands = rng.sample(lex.strange, self.questions + self.difficulty)
            cities = rng.sample(lex.cities, 3 * len(lands)) if 3 * len(lands) <= len(lex.cities) else []
            if not cities:
                raise TaskError(
                    f"{len(lands)} lands need more than the {len(lex.cities)} cities there are: lower questions"
                )
            towns = {land: tuple(cities[3 * i : 3 * i + 3]) for i, land in enumerate(lands)}
            self.write_document(script, rng, towns, lands[self.questions - 1])
        meta: dict[str, Any] = {}
        for number, (land, own) in enumerate(list(towns.items())[: self.questions], start=1):
            last = number == self.questions
            script.write("user", f"what are the towns of {land}?", *(("question",) if last else ()))
            script.write("assistant", self.render(own))
            meta = {"subject": land, "values": own}
        return script, meta

    def write_document(self, script: Script, rng: random.Random, towns: dict[str, tuple[str, ...]], own: str) -> None:
        queues = {land: list(values) for land, values in towns.items()}
        script.write("user", "document 1:", "document")
        others = [f.sentence for f in draw_facts(rng, self.difficulty) if f.kind != "city"]
        order = [land for land in queues for _ in range(3)] + [""] * len(others)
        rng.shuffle(order)
        for land in order:
            if not land:
                script.write("user", others.pop(), "document")
                continue
            town = queues[land].pop(0)
            marks = ("gold",) if land == own else ()
            script.write(
                "user",
                f"a town of {land} is {town}.",
                "document",
                *marks,
                inside={"value": town} if land == own else None,
            )

    @staticmethod
    def render(values: tuple[str, ...]) -> str:
        return f"{', '.join(values[:-1])} and {values[-1]}"

    def check(self, example: Example, reply: str) -> bool:
        words = [w for w in normalise(reply).split() if w not in (",", "and")]
        return sorted(words) == sorted(example.meta["values"])

    def found(self, example: Example, reply: str) -> int:
        """How many of the towns the reply names."""
        return len(set(normalise(reply).split()) & set(example.meta["values"]))

    def guess(self, example: Example, rng: random.Random) -> str:
        return self.render(tuple(rng.sample(lexicon().cities, 3)))

    @property
    def chance(self) -> float:
        n = len(lexicon().cities)
        return 6 / (n * (n - 1) * (n - 2))
