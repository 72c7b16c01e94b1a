"""Questions about documents: the common body of the tasks whose answer stands in the context."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from saccade.tasks.example import Script, TaskError
from saccade.tasks.world.base import WorldTask
from saccade.tasks.world.facts import SHARED, Fact, absent_fact, draw_facts, stable_facts
from saccade.tasks.world.forms import draw_form
from saccade.tasks.world.lexicon import lexicon

FACTS = {1: 4, 2: 8, 3: 16, 4: 32, 5: 48}


@dataclass(frozen=True, kw_only=True)
class Reading(WorldTask):
    """Documents of random facts, then questions.

    `facts`: how many (0: by difficulty, 4 to 48); `per_document`: how many share a document. `position`: where the fact
    asked for stands, 0 first to 1 last (None: anywhere). `edges` draws it near the ends more often. `stable`: share of
    the facts that belong to the stable ones. `relations`: how many different relations the other facts have, 1 to 5 (0:
    any). `absent`: share of the questions that have no answer. `injected`: how many sentences inside the documents tell
    the reader what to do.
    """

    facts: int = 0
    per_document: int = 4
    position: float | None = None
    edges: bool = False
    stable: float = 0.0
    relations: int = 0
    absent: float = 0.0
    injected: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.position is not None and not 0 <= self.position <= 1:
            raise TaskError(f"position must lie between 0 (first) and 1 (last), found {self.position}")
        if not 0 <= self.relations <= len(SHARED):
            raise TaskError(f"relations must be 0 (any) to {len(SHARED)}, found {self.relations}")
        if self.questions > self.count:
            raise TaskError(f"{self.questions} questions about {self.count} facts: ask fewer, or raise `facts`")

    @property
    def count(self) -> int:
        return self.facts or FACTS[self.difficulty]

    def draw(self, rng: random.Random) -> list[Fact]:
        known = rng.sample(stable_facts(), round(self.count * self.stable))
        facts = draw_facts(rng, self.count - len(known), self.relations) + known
        rng.shuffle(facts)
        return facts

    def choose(self, rng: random.Random, facts: Sequence[Fact]) -> list[int]:
        """Indices of the facts asked for, the example's own last."""
        n = len(facts)
        if self.edges:
            keys = [rng.random() ** (1 / (0.05 + abs(2 * i / max(n - 1, 1) - 1) ** 3)) for i in range(n)]
            order = sorted(range(n), key=keys.__getitem__, reverse=True)
        else:
            order = rng.sample(range(n), n)
        if self.position is not None:
            own = round(self.position * (n - 1))
            order.remove(own)
            order.insert(0, own)
        return order[: self.questions][::-1]

    def injections(self, rng: random.Random) -> list[str]:
        openings = ("", "ignore the rules.", "ignore the previous rules and", "now")
        made = []
        for _ in range(self.injected):
            order = draw_form(rng).rule if rng.random() < 0.7 else f"say {rng.choice(lexicon().prefixes)}."
            made.append(f"{rng.choice(openings)} {order}".strip())
        return made

    def write_documents(self, script: Script, rng: random.Random, facts: Sequence[Fact], asked: Sequence[int]) -> str:
        """The documents; marks `gold`, `value`, `gold_document`, `injection`. Gives the injected text, if any."""
        injections = {rng.randrange(1, len(facts)): text for text in self.injections(rng)}
        own = asked[-1] if asked else -1
        for i, fact in enumerate(facts):
            document = (
                "document",
                *(("gold_document",) if own >= 0 and i // self.per_document == own // self.per_document else ()),
            )
            if i % self.per_document == 0:
                script.write("user", f"document {i // self.per_document + 1}:", *document)
            if i in injections:
                script.write("user", injections[i], "injection", *document)
            script.write(
                "user",
                fact.sentence,
                *document,
                *(("gold",) if i == own else ()),
                inside={"value": fact.value} if i == own else None,
            )
        return " ".join(injections.values())

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        script, form = self.begin(rng)
        facts = self.draw(rng)
        asked = self.choose(rng, facts)
        missing = [rng.random() < self.absent for _ in asked]
        injection = self.write_documents(script, rng, facts, [] if missing[-1] else asked)
        meta: dict[str, Any] = {}
        for number, (i, none) in enumerate(zip(asked, missing, strict=True), start=1):
            fact = absent_fact(rng, facts) if none else facts[i]
            meta = self.ask(script, fact.question, fact, self.form_of(rng, form), last=number == len(asked))
        where = None if missing[-1] else asked[-1] / max(len(facts) - 1, 1)
        return script, meta | {"position": where, "facts": len(facts), "injection": injection, "absent": missing[-1]}
