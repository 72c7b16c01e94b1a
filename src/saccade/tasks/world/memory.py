"""Stable facts, asked without any context."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from saccade.tasks.example import Script
from saccade.tasks.task import register
from saccade.tasks.world.base import WorldTask
from saccade.tasks.world.facts import RELATIONS, STABLE, stable_facts
from saccade.tasks.world.lexicon import lexicon


@register
@dataclass(frozen=True, kw_only=True)
class Memory(WorldTask):
    """What is the capital of a known land? The answer is in the weights or nowhere [352, 324]."""

    name: ClassVar[str] = "world/memory"
    papers: ClassVar[tuple[int, ...]] = (352, 324)

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        script, form = self.begin(rng)
        facts = rng.sample(stable_facts(), self.questions)
        meta: dict[str, Any] = {}
        for number, fact in enumerate(facts, start=1):
            meta = self.ask(script, fact.question, fact, self.form_of(rng, form), last=number == len(facts))
        return script, meta

    @property
    def chance(self) -> float:
        return sum(1 / len(lexicon().values(RELATIONS[r])) for r in STABLE) / len(STABLE)
