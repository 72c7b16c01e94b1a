"""A context that contradicts what the weights know."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from saccade.tasks.example import Script, TaskError
from saccade.tasks.task import register
from saccade.tasks.world.facts import stable_facts
from saccade.tasks.world.reading import Reading

CUES = {"none": "", "context": "according to the document", "memory": "from memory"}


@register
@dataclass(frozen=True, kw_only=True)
class Conflict(Reading):
    """A document states another value for a stable fact [324, 352].

    `cue` says which source the question asks for: "context", "memory", or "none" (it does not say). `wanted` says which
    of the two counts as right when the cue is "none"; `follow` is the share of examples whose answer is the context's
    when `wanted` is "either" (used for training data). meta: `context_value`, `memory_value`.
    """

    name: ClassVar[str] = "world/conflict"
    papers: ClassVar[tuple[int, ...]] = (324, 352)

    cue: str = "none"
    wanted: str = "context"
    follow: float = 0.6
    stable: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cue not in CUES:
            raise TaskError(f"cue must be one of {sorted(CUES)}, found {self.cue!r}")
        if self.wanted not in ("context", "memory", "either"):
            raise TaskError(f"wanted must be 'context', 'memory' or 'either', found {self.wanted!r}")

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        script, form = self.begin(rng)
        truth = {(f.subject, f.relation): f for f in stable_facts()}
        facts = self.draw(rng)
        places = [i for i, f in enumerate(facts) if (f.subject, f.relation) in truth]
        asked = rng.sample(places, min(self.questions, len(places)))
        for i in asked:
            facts[i] = facts[i].other(rng)
        self.write_documents(script, rng, facts, asked)
        meta: dict[str, Any] = {}
        for number, i in enumerate(asked, start=1):
            known, told = truth[facts[i].subject, facts[i].relation], facts[i]
            source = self.cue if self.cue != "none" else self.wanted
            from_context = rng.random() < self.follow if source == "either" else source == "context"
            question = ", ".join(filter(None, (CUES[self.cue], told.question)))
            meta = self.ask(
                script, question, told if from_context else known, self.form_of(rng, form), last=number == len(asked)
            )
            meta |= {"context_value": told.value, "memory_value": known.value}
        return script, meta | {"facts": len(facts)}
