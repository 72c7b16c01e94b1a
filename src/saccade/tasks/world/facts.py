"""Facts of the world: what they say, how they are asked for, and which of them never change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from saccade.tasks.world.lexicon import YEARS, lexicon

RELATIONS = {
    "capital": "city", "leader": "person", "colour": "colour", "animal": "animal", "dish": "food", "tool": "tool",
    "plant": "plant", "home": "city", "friend": "person", "ruler": "person", "town": "city",
}  # fmt: skip
LAND = ("capital", "leader", "colour", "animal", "dish", "tool", "plant")
PERSON = ("home", "friend", "colour", "animal", "dish", "tool", "plant")
SHARED = tuple(r for r in LAND if r in PERSON)
STABLE = ("capital", "leader", "colour", "animal", "dish")


@dataclass(frozen=True, slots=True)
class Fact:
    """`relation` of `subject` is `value`, in `year` if one is given.

    >>> f = Fact("capital", "Norvia", "Teslo")
    >>> f.sentence, f.question
    ('the capital of Norvia is Teslo.', 'what is the capital of Norvia?')
    """

    relation: str
    subject: str
    value: str
    year: str | None = None

    @property
    def kind(self) -> str:
        return RELATIONS[self.relation]

    @property
    def sentence(self) -> str:
        if self.year:
            return f"in {self.year} the {self.relation} of {self.subject} was {self.value}."
        return f"the {self.relation} of {self.subject} is {self.value}."

    @property
    def question(self) -> str:
        if self.year:
            return f"in {self.year} what was the {self.relation} of {self.subject}?"
        return f"what is the {self.relation} of {self.subject}?"

    def other(self, rng: random.Random) -> Fact:
        """The same fact with another value of the same kind."""
        value = rng.choice([v for v in lexicon().values(self.kind) if v != self.value])
        return Fact(self.relation, self.subject, value, self.year)


@cache
def stable_facts() -> tuple[Fact, ...]:
    """The facts that hold in every document of the training data, and so enter the weights: 32 lands × 5 relations."""
    rng = random.Random("saccade-stable")
    lex = lexicon()
    return tuple(Fact(r, land, rng.choice(lex.values(RELATIONS[r]))) for land in lex.lands for r in STABLE)


@cache
def ruler_facts() -> tuple[Fact, ...]:
    """Stable facts that change by year: the rulers of 12 lands in each of ten years, three rulers a land."""
    rng = random.Random("saccade-rulers")
    lex = lexicon()
    facts = []
    for land in lex.lands[:12]:
        rulers = rng.sample(lex.people, 3)
        cuts = sorted(rng.sample(range(1, len(YEARS)), 2))
        facts += [Fact("ruler", land, rulers[(i >= cuts[0]) + (i >= cuts[1])], y) for i, y in enumerate(YEARS)]
    return tuple(facts)


@cache
def stable_towns() -> dict[str, tuple[str, ...]]:
    """Stable one-to-many facts: the three towns of each of 16 lands."""
    rng = random.Random("saccade-towns")
    lex = lexicon()
    return {land: tuple(rng.sample(lex.cities, 3)) for land in lex.lands[:16]}


def strange_subject(subject: str) -> bool:
    """Whether nothing about the subject is known by heart."""
    return subject not in lexicon().lands


def draw_facts(rng: random.Random, count: int, relations: int = 0) -> list[Fact]:
    """Distinct random facts about strange lands and people, about three a subject, so that both keys are needed.

    `relations`: how many different ones, of those that lands and people share (0: any); one makes the subject the only
    key, and as many subjects are drawn as that takes.
    """
    lex = lexicon()
    people = set(lex.people)
    kept = rng.sample(SHARED, relations) if relations else (*LAND, *PERSON)
    pool = rng.sample(lex.strange + lex.people, min(80, max(2, count // min(3, len(kept)) + 1)))
    pairs = [(s, r) for s in pool for r in (PERSON if s in people else LAND) if r in kept]
    if count > len(pairs):
        raise ValueError(f"{count} facts wanted, but {len(pool)} subjects have only {len(pairs)}")
    facts = []
    for subject, relation in rng.sample(pairs, count):
        choices = lex.values(RELATIONS[relation])
        value = rng.choice(choices)
        while value == subject:
            value = rng.choice(choices)
        facts.append(Fact(relation, subject, value))
    return facts


def absent_fact(rng: random.Random, facts: Sequence[Fact]) -> Fact:
    """A fact about a subject and a relation that both occur in `facts`, but not together where that can be."""
    known = {(f.subject, f.relation) for f in facts}
    people = set(lexicon().people)
    subjects = sorted({f.subject for f in facts if strange_subject(f.subject)})
    seen = {f.relation for f in facts}
    free = [
        (s, r) for s in subjects for r in (PERSON if s in people else LAND) if (s, r) not in known
    ]  # fmt: skip
    likely = [(s, r) for s, r in free if r in seen] or free
    subject, relation = rng.choice(likely)
    return Fact(relation, subject, "unknown")
