"""Facts that change by year."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from saccade.tasks.example import Script, TaskError
from saccade.tasks.task import register
from saccade.tasks.world.facts import RELATIONS, Fact, ruler_facts
from saccade.tasks.world.lexicon import YEARS, lexicon
from saccade.tasks.world.reading import Reading


@register
@dataclass(frozen=True, kw_only=True)
class Years(Reading):
    """Who ruled in 1970? [135]

    From the weights (`source="memory"`: stable rulers) or from a document of dated facts ("context").

    Span `year` is the year in the question.
    """

    name: ClassVar[str] = "world/years"
    papers: ClassVar[tuple[int, ...]] = (135,)

    source: str = "memory"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source not in ("memory", "context"):
            raise TaskError(f"source must be 'memory' or 'context', found {self.source!r}")

    def draw(self, rng: random.Random) -> list[Fact]:
        if self.source == "memory":
            return rng.sample(ruler_facts(), self.count)
        lex = lexicon()
        lands = rng.sample(lex.strange, max(1, self.count // 4))
        keys = [(land, year) for land in lands for year in YEARS]
        return [Fact("ruler", land, rng.choice(lex.people), year) for land, year in rng.sample(keys, self.count)]

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        script, form = self.begin(rng)
        facts = self.draw(rng)
        asked = self.choose(rng, facts)
        if self.source == "context":
            self.write_documents(script, rng, facts, asked)
        meta: dict[str, Any] = {}
        for number, i in enumerate(asked, start=1):
            meta = self.ask(script, facts[i].question, facts[i], self.form_of(rng, form), last=number == len(asked))
            if number == len(asked):
                self.mark_year(script, facts[i])
        return script, meta | {"year": facts[asked[-1]].year, "facts": len(facts)}

    @staticmethod
    def mark_year(script: Script, fact: Fact) -> None:
        place = script.spans["question"][-1]
        start = place.start + fact.question.index(str(fact.year))
        script.spans["year"] = [type(place)(place.message, start, start + len(str(fact.year)))]

    @property
    def chance(self) -> float:
        return 1 / len(lexicon().values(RELATIONS["ruler"]))
