"""What the tasks of the synthetic world share: instructions on form, several questions, and the random baseline."""

from __future__ import annotations

import random
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from saccade.tasks.example import Example, Message, Script, TaskError
from saccade.tasks.task import Task
from saccade.tasks.world.facts import LAND, RELATIONS, Fact
from saccade.tasks.world.forms import PLAIN, Form, draw_form
from saccade.tasks.world.lexicon import lexicon


@dataclass(frozen=True, kw_only=True)
class WorldTask(Task):
    """A task written in the synthetic language.

    `forms`: kinds of instruction on the answer's form, one drawn for each example ("plain" is none). `rule_in`: where
    that instruction stands: in the "system" part; "before" all else that the user says; in the "user" turn after each
    question, a new one each time; or nowhere, the replies before the last having "shown" it (needs more than one
    question). `questions`: how many questions a conversation asks; the last one is the example's, the others are
    answered before it.
    """

    forms: tuple[str, ...] = ("plain",)
    rule_in: str = "system"
    questions: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule_in not in ("system", "before", "user", "shown"):
            raise TaskError(f"rule_in must be 'system', 'before', 'user' or 'shown', found {self.rule_in!r}")
        if self.rule_in == "shown" and self.questions < 2:
            raise TaskError("a form that replies have shown needs questions > 1, found 1")

    @abstractmethod
    def compose(self, rng: random.Random) -> tuple[Script, dict[str, Any]]:
        """Write a whole conversation, replies included; the second value is the example's meta."""

    def build(self, rng: random.Random) -> Example:
        script, meta = self.compose(rng)
        return script.example(*meta.pop("others", ()), **meta)

    def conversation(self, index: int) -> tuple[Message, ...]:
        """Example `index` with every reply, the last one too: what a model is trained on."""
        return self.compose(self.rng(index))[0].messages()

    def begin(self, rng: random.Random) -> tuple[Script, Form]:
        """A script that opens with the instruction, if there is one and it belongs to the beginning."""
        script, form = Script(), draw_form(rng, self.forms)
        if form != PLAIN and self.rule_in in ("system", "before"):
            script.write("system" if self.rule_in == "system" else "user", form.rule, "rule")
        return script, form

    def form_of(self, rng: random.Random, form: Form) -> Form:
        """The form of the next answer: that of the system part, or a new one where the user gives it."""
        return draw_form(rng, self.forms) if self.rule_in == "user" else form

    def ask(self, script: Script, question: str, fact: Fact, form: Form, last: bool) -> dict[str, Any]:
        """Write a question and its reply; gives the meta that `guess` needs."""
        names = ("question",) if last else ()
        script.write("user", question, *names)
        if form != PLAIN and self.rule_in == "user":
            script.write("user", form.rule, *(("rule",) if last else ()))
        script.write("assistant", form.apply(fact.value, fact.subject))
        return {"kind": fact.kind, "subject": fact.subject, "value": fact.value, "form": form.kind, "word": form.word}

    def guess(self, example: Example, rng: random.Random) -> str:
        meta = example.meta
        value = rng.choice(lexicon().values(meta["kind"]))
        return Form(meta["form"], meta["word"]).apply(value, meta["subject"])

    @property
    def chance(self) -> float:
        """One over the number of words of the right kind, averaged over the kinds of fact."""
        return sum(1 / len(lexicon().values(RELATIONS[r])) for r in LAND) / len(LAND)
