"""Long dialogues in which the instruction lies far back."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from saccade.tasks.example import Script
from saccade.tasks.task import register
from saccade.tasks.world.base import WorldTask
from saccade.tasks.world.facts import Fact, draw_facts
from saccade.tasks.world.forms import KINDS, PLAIN

SMALL_TALK = (
    ("hello.", "good day, friend."), ("how is the weather?", "sun and wind."),
    ("I like the rain.", "the rain is nice."), ("tell me about the old road.", "the road is long."),
    ("I walk by the river often.", "the river is quiet."), ("thanks.", "you are welcome."),
    ("the night is long.", "sleep well, friend."), ("talk about the song.", "a lovely song."),
    ("I do not sleep well.", "work is very long."), ("fine weather this morning.", "yes, lovely."),
    ("do you agree?", "of course."), ("good evening.", "good evening."),
)  # fmt: skip


@register
@dataclass(frozen=True, kw_only=True)
class Dialogue(WorldTask):
    """An instruction, `turns` turns of small talk that it does not concern, then a question that it does [180].

    Difficulty: 1, 2, 4, 8, 16 turns. With `questions` > 1 each question comes after its own share of the turns.
    `precedents` questions before the last one were answered without heeding the instruction: the assistant has drifted,
    and its own words speak against the instruction. Span `drifted`: those replies.
    """

    name: ClassVar[str] = "world/dialogue"
    papers: ClassVar[tuple[int, ...]] = (180,)

    forms: tuple[str, ...] = KINDS
    turns: int = 0
    precedents: int = 0

    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        script, form = self.begin(rng)
        turns = self.turns or 1 << (self.difficulty - 1)
        facts = draw_facts(rng, 2 * (self.questions + self.precedents))
        pairs = [(facts.pop(), facts.pop()) for _ in range(self.questions + self.precedents)]
        meta: dict[str, Any] = {}
        for number in range(self.questions):
            last = number == self.questions - 1
            for _ in range((turns * (number + 1)) // self.questions - (turns * number) // self.questions):
                said, reply = rng.choice(SMALL_TALK)
                script.write("user", said, "talk")
                script.write("assistant", reply, "talk")
            for _ in range(self.precedents if last else 0):
                fact = self.tell(script, pairs.pop(), rng, last=False)
                script.write("user", fact.question)
                script.write("assistant", fact.value, "drifted")
            fact = self.tell(script, pairs.pop(), rng, last)
            meta = self.ask(script, fact.question, fact, self.form_of(rng, form), last=last)
        return script, meta | {"turns": turns, "precedents": self.precedents, "ruled": form != PLAIN}

    @staticmethod
    def tell(script: Script, pair: tuple[Fact, Fact], rng: random.Random, last: bool) -> Fact:
        """State two facts and give the one to ask for; marks it in the last round."""
        fact = rng.choice(pair)
        for told in pair:
            own = told is fact and last
            names, inside = (("gold",), {"value": told.value}) if own else ((), None)
            script.write("user", told.sentence, *names, inside=inside)
        return fact
