"""Instructions on the form of an answer, and what an answer looks like under each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from saccade.tasks.world.lexicon import lexicon

KINDS = ("capitals", "velan", "begin", "end", "subject first", "subject last")


@dataclass(frozen=True, slots=True)
class Form:
    """One instruction. `word` is the word of "begin" and "end".

    >>> Form("begin", "hark").rule, Form("begin", "hark").apply("Teslo", "Norvia")
    ('begin with hark.', 'hark Teslo')
    >>> Form("capitals").apply("Teslo", "Norvia"), Form("subject first").apply("Teslo", "Norvia")
    ('TESLO', 'Norvia Teslo')
    """

    kind: str = "plain"
    word: str = ""

    @property
    def rule(self) -> str:
        """The instruction as a sentence; empty for a plain answer."""
        return {
            "plain": "",
            "capitals": "answer in capitals.",
            "velan": "answer in velan.",
            "begin": f"begin with {self.word}.",
            "end": f"end with {self.word}.",
            "subject first": "name the subject first.",
            "subject last": "name the subject last.",
        }[self.kind]

    def apply(self, value: str, subject: str) -> str:
        """The answer in this form. Only the value is changed in case or language; names have no translation."""
        match self.kind:
            case "capitals":
                return value.upper()
            case "velan":
                return lexicon().velan.get(value, value)
            case "begin":
                return f"{self.word} {value}"
            case "end":
                return f"{value} {self.word}"
            case "subject first":
                return f"{subject} {value}"
            case "subject last":
                return f"{value} {subject}"
        return value


PLAIN = Form()


def draw_form(rng: random.Random, kinds: Sequence[str] = KINDS) -> Form:
    """A random instruction of one of the kinds."""
    kind = rng.choice(list(kinds))
    return Form(kind, rng.choice(lexicon().prefixes) if kind in ("begin", "end") else "")
