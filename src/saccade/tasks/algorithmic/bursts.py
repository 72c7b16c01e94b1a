"""In-context classification with tunable burstiness."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask, symbols
from saccade.tasks.example import Example, Script, TaskError
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class Bursts(ChoiceTask):
    """Pairs of item and label, then an item; label it from the weights or from the context (Reddy [247]).

    Items are one of `variants` spellings of one of `classes`, drawn with rank-frequency exponent `zipf`. Class c has
    label c mod `labels` everywhere, so it can be learnt in weights, unless `novel`, which deals the labels anew in
    every example, so that only the context tells. The item's class occurs `burst` times in the context (0: the context
    does not help). Difficulty: 2, 4, 8, 16, 32 pairs. Span `gold`: the labels of the item's class in the context.
    """

    name: ClassVar[str] = "algorithmic/bursts"
    papers: ClassVar[tuple[int, ...]] = (247,)

    classes: int = 64
    labels: int = 8
    variants: int = 4
    burst: int = 1
    zipf: float = 0.0
    novel: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.burst <= self.pairs:
            raise TaskError(f"burst must be 0 to {self.pairs} (the number of pairs), found {self.burst}")
        if self.novel and self.burst == 0:
            raise TaskError("novel labels with burst 0 have no answer: raise burst")

    @property
    def pairs(self) -> int:
        return 1 << self.difficulty

    def build(self, rng: random.Random) -> Example:
        weights = [(rank + 1) ** -self.zipf for rank in range(self.classes)]
        own = rng.choices(range(self.classes), weights)[0]
        weights[own] = 0.0
        shown = [own] * self.burst + rng.choices(range(self.classes), weights, k=self.pairs - self.burst)
        rng.shuffle(shown)
        label = [c % self.labels for c in range(self.classes)]
        if self.novel:
            label = rng.choices(range(self.labels), k=self.classes)
        script = Script()
        for c in shown:
            script.write("text", self.item(rng, c))
            script.write("text", f"L{label[c]}", *(("gold",) if c == own else ()))
        script.write("text", self.item(rng, own), "query")
        return script.plain(f"L{label[own]}", choices=tuple(f"L{i}" for i in range(self.labels)), item_class=own)

    def item(self, rng: random.Random, number: int) -> str:
        return f"{symbols(self.classes)[number]}{rng.randrange(self.variants)}"

    @property
    def chance(self) -> float:
        return 1 / self.labels
