"""Classification from demonstrations, true or false."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from saccade.tasks.example import Example, Script, TaskError
from saccade.tasks.task import register
from saccade.tasks.world.base import WorldTask
from saccade.tasks.world.lexicon import lexicon

LABELS = ("animal", "food", "tool", "plant")


@register
@dataclass(frozen=True, kw_only=True)
class FewShot(WorldTask):
    """`wolf: animal. rice: food. oak:` [206, 157].

    The demonstrations are true, or false by one fixed permutation of the labels, or random.

    `shots` demonstrations (0: by difficulty, 4 to 32) show each label about equally often. The answer is the true label
    unless `follow`, which makes it the label that the demonstrations imply (equal to the true one where they are true
    or random). Spans `demonstrations`, `query`. meta: `truth`, `implied`, `demonstrations`.
    """

    name: ClassVar[str] = "world/fewshot"
    papers: ClassVar[tuple[int, ...]] = (206, 157)

    shots: int = 0
    labels: str = "true"
    follow: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels not in ("true", "false", "random"):
            raise TaskError(f"labels must be 'true', 'false' or 'random', found {self.labels!r}")

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        lex = lexicon()
        kinds = list(LABELS)
        implied = dict(zip(kinds, kinds, strict=True))
        if self.labels == "false":
            shift = rng.randrange(1, len(kinds))
            order = rng.sample(kinds, len(kinds))
            implied = {k: order[(order.index(k) + shift) % len(order)] for k in kinds}
        shots = self.shots or {1: 4, 2: 8, 3: 12, 4: 20, 5: 32}[self.difficulty]
        shown = [kinds[i % len(kinds)] for i in range(shots)]
        rng.shuffle(shown)
        asked = shown + rng.choices(kinds, k=self.questions)
        pools = {k: rng.sample(lex.values(k), len(lex.values(k))) for k in kinds}
        words = [(pools[k].pop(), k) for k in asked]
        script = Script()
        for word, kind in words[:shots]:
            label = rng.choice(kinds) if self.labels == "random" else implied[kind]
            script.write("user", f"{word}: {label}.", "demonstrations")
        meta: dict[str, Any] = {}
        for number, (word, kind) in enumerate(words[shots:], start=1):
            script.write("user", f"{word}:", *(("query",) if number == self.questions else ()))
            script.write("assistant", implied[kind] if self.follow else kind)
            meta = {"truth": kind, "implied": implied[kind], "demonstrations": self.labels, "shots": shots}
        return script, meta

    def guess(self, example: Example, rng: random.Random) -> str:
        return rng.choice(LABELS)

    @property
    def chance(self) -> float:
        return 1 / len(LABELS)
