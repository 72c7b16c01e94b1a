"""The one type that every task yields: a prompt, its right answers, and where in the prompt the evidence stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from saccade.core.errors import SaccadeError


class TaskError(SaccadeError):
    """A task was asked for something that it cannot make."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Characters `start` to `stop` (exclusive) of message number `message`; a plain prompt is message 0."""

    message: int
    start: int
    stop: int


@dataclass(frozen=True)
class Example:
    """A prompt with known answers and gold spans.

    `prompt` is a text, or a tuple of messages for a chat template. `answers` are the replies that count as right, the
    first one being canonical. `spans` maps a name ("gold", "rule", "question", ...) to the places that it covers.
    `meta` holds what a study may need beside (position of the evidence, competing answers, ...).

    >>> e = Example("the sky is blue. the sky is", ("blue",), {"gold": (Place(0, 11, 15),)})
    >>> e.texts("gold"), e.marked()
    (('blue',), 'the sky is [[gold|blue]]. the sky is')
    """

    prompt: str | tuple[Message, ...]
    answers: tuple[str, ...]
    spans: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """The canonical answer."""
        return self.answers[0]

    @property
    def is_chat(self) -> bool:
        return not isinstance(self.prompt, str)

    @property
    def contents(self) -> tuple[str, ...]:
        """The text of each message; of a plain prompt, the one text."""
        return (self.prompt,) if isinstance(self.prompt, str) else tuple(m.content for m in self.prompt)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as `apply_chat_template` wants it; a plain prompt becomes one user message."""
        if isinstance(self.prompt, str):
            return [{"role": "user", "content": self.prompt}]
        return [{"role": m.role, "content": m.content} for m in self.prompt]

    def texts(self, span: str) -> tuple[str, ...]:
        """The words that a span covers, one string a place."""
        if span not in self.spans:
            raise TaskError(f"no span {span!r} in this example; it has {sorted(self.spans)}")
        contents = self.contents
        return tuple(contents[p.message][p.start : p.stop] for p in self.spans[span])

    def ranges(self, *names: str) -> dict[str, list[tuple[int, int]]]:
        """Character ranges of a plain prompt by span name (all of them when none is named)."""
        if self.is_chat:
            raise TaskError(
                "this prompt is a conversation, its spans lie in several messages: use .spans or .text_ranges"
            )
        return {n: [(p.start, p.stop) for p in self.spans[n]] for n in names or self.spans}

    def selectors(self, *names: str) -> dict[str, Any]:
        """Spans as `lm.prompt(example.messages, spans=...)` takes them; of a text, `lm.prompt(example.prompt, ...)`."""
        from saccade.prompt import Chars, Within
        from saccade.prompt import Message as Turn

        def select(place: Place) -> Any:
            chars = Chars(place.start, place.stop)
            return Within(chars, Turn(place.message)) if self.is_chat else chars

        return {n: [select(p) for p in self.spans[n]] for n in names or self.spans}

    def text_ranges(self, text: str, *names: str) -> dict[str, list[tuple[int, int]]]:
        """Character ranges by span name in `text`, the prompt rendered by a chat template.

        The contents must occur in `text` in their order, as every template that does not rewrite them guarantees.
        """
        starts, at = [], 0
        for number, content in enumerate(self.contents):
            found = text.find(content, at)
            if found < 0:
                raise TaskError(f"message {number} ({content[:40]!r}) is not in the rendered text after character {at}")
            starts.append(found)
            at = found + len(content)
        return {
            n: [(starts[p.message] + p.start, starts[p.message] + p.stop) for p in self.spans[n]]
            for n in names or self.spans
        }

    def marked(self, *names: str) -> str | list[dict[str, str]]:
        """The prompt with its spans written as `[[name|text]]`; the named spans must not overlap."""
        cuts = sorted((p, n) for n in names or self.spans for p in self.spans[n])
        for (a, one), (b, two) in pairwise(cuts):
            if a.message == b.message and b.start < a.stop:
                raise TaskError(f"spans {one!r} and {two!r} overlap: name only some of {sorted(self.spans)}")
        contents = list(self.contents)
        for p, n in reversed(cuts):
            text = contents[p.message]
            contents[p.message] = f"{text[: p.start]}[[{n}|{text[p.start : p.stop]}]]{text[p.stop :]}"
        if isinstance(self.prompt, str):
            return contents[0]
        return [{"role": m.role, "content": c} for m, c in zip(self.prompt, contents, strict=True)]


def normalise(reply: str) -> str:
    """A reply without the freedoms of spacing: words and marks parted by one space, no full stop at the end."""
    return " ".join(re.findall(r"\w+|[^\w\s]", reply)).removesuffix(" .")


class Script:
    """Writes a conversation piece by piece and remembers where each named piece stands.

    >>> s = Script()
    >>> s.write("user", "the sky is blue.", "gold"); s.write("user", "what is the sky?", "question")
    >>> s.turns, s.spans["question"]
    ([['user', 'the sky is blue. what is the sky?']], [Place(message=0, start=17, stop=33)])
    """

    def __init__(self) -> None:
        self.turns: list[list[str]] = []
        self.spans: dict[str, list[Place]] = {}

    def write(self, role: str, text: str, *names: str, inside: Mapping[str, str] | None = None) -> None:
        """Append `text` to the current message, or open a new one when the role changes.

        The text is marked with each of `names`, joined to the piece before where that has the name too;
        `inside` marks substrings of it (the last occurrence).
        """
        if not self.turns or self.turns[-1][0] != role:
            self.turns.append([role, ""])
        content = self.turns[-1][1]
        start = len(content) + bool(content)
        self.turns[-1][1] = f"{content} {text}" if content else text
        number = len(self.turns) - 1
        for name in names:
            places = self.spans.setdefault(name, [])
            joined = (
                places.pop().start if places and (places[-1].message, places[-1].stop + 1) == (number, start) else start
            )
            places.append(Place(number, joined, start + len(text)))
        for name, part in (inside or {}).items():
            at = start + text.rindex(part)
            self.spans.setdefault(name, []).append(Place(number, at, at + len(part)))

    def plain(self, *answers: str, **meta: Any) -> Example:
        """What was written, as one text without roles, with its answers."""
        if len(self.turns) != 1:
            raise TaskError(f"a plain prompt is one piece of text, this script has {len(self.turns)} turns")
        return Example(self.turns[0][1], answers, {n: tuple(p) for n, p in self.spans.items()}, meta)

    def messages(self) -> tuple[Message, ...]:
        return tuple(Message(role, content) for role, content in self.turns)

    def example(self, *others: str, **meta: Any) -> Example:
        """The conversation as an example, whose answer is the last turn; `others` count as right too."""
        *prompt, last = self.messages()
        if last.role != "assistant":
            raise TaskError("a script must end with the assistant's reply, which is the answer")
        spans = {n: tuple(p for p in places if p.message < len(prompt)) for n, places in self.spans.items()}
        return Example(tuple(prompt), (last.content, *others), {n: p for n, p in spans.items() if p}, meta)
