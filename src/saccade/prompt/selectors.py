"""Selectors: ways to say which part of a prompt a span is.

A selector is any object with ``locate(source) -> Found``. Plain values stand for the common ones: a string is
:class:`Substring`, a compiled pattern :class:`Regex`, a pair of integers :class:`Chars`, a list the union of its
members.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, Literal, Protocol

from saccade.core.errors import PromptError

from .markup import Range
from .nearest import nearest, nearest_name


class Absent(PromptError):
    """A selector that found nothing, as opposed to one that is malformed or ambiguous."""


@dataclass(frozen=True)
class Turn:
    """One chat message in the rendered prompt: its role and the character ranges of its content."""

    role: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Source:
    """What selectors look at: one plain prompt, its messages, its token ids.

    Attributes:
        text: the plain prompt (a chat as its template renders it).
        searched: ranges in which :class:`Substring` and :class:`Regex` look: the whole text, or the message contents.
        ids: token ids of the whole prompt, unpadded and not truncated.
        special: ``name or token -> ids`` of the tokenizer's special tokens.
        turns: the chat messages, none for plain text.
        within: the ranges that :class:`Within` narrowed the search to, if it did.
    """

    text: str
    searched: tuple[Range, ...]
    ids: tuple[int, ...]
    special: Callable[[str], frozenset[int]]
    turns: tuple[Turn, ...] = ()
    within: tuple[Range, ...] | None = None


@dataclass(frozen=True)
class Found:
    """Half-open character ranges, and token positions for what has no characters of its own."""

    ranges: tuple[Range, ...] = ()
    positions: tuple[int, ...] = ()


class Selector(Protocol):
    """Anything that can locate itself in a prompt."""

    def locate(self, source: Source) -> Found:
        """Ranges or positions of the span; raises :class:`Absent` where there is none."""
        ...


@dataclass(frozen=True)
class Substring:
    """Where ``text`` stands, letter for letter.

    Args:
        text: what to look for; in a chat, inside the message contents.
        nth: which occurrence, from 0, negative from the end; ``"all"`` for their union; None where it must be the only
            one. Every position at which ``text`` starts counts, overlapping ones too.

    Raises:
        PromptError: ``text`` is empty, occurs several times with ``nth=None``, or fewer than ``nth`` times.
    """

    text: str
    nth: int | Literal["all"] | None = None

    def __post_init__(self) -> None:
        if not self.text:
            raise PromptError("an empty string selects nothing; pass the text of the span.")
        if self.nth is not None and self.nth != "all" and not _whole(self.nth):
            raise PromptError(f"nth must be an integer, 'all' or None, found {self.nth!r}.")

    def locate(self, source: Source) -> Found:
        """The occurrences that ``nth`` asks for."""
        starts = [
            match.start() + low
            for low, high in source.searched
            for match in re.finditer(f"(?={re.escape(self.text)})", source.text[low:high])
        ]
        if not starts:
            raise Absent(f"{self.text!r} is not in the prompt. {self._nearest(source)}")
        if self.nth == "all":
            chosen = starts
        elif self.nth is None:
            if len(starts) > 1:
                raise PromptError(
                    f"{self.text!r} occurs {len(starts)} times (at characters {_listed(starts)}): choose with "
                    f"Substring({self.text!r}, nth=0) .. nth={len(starts) - 1}, or take all with nth='all'."
                )
            chosen = starts
        elif -len(starts) <= self.nth < len(starts):
            chosen = [starts[self.nth]]
        else:
            raise Absent(
                f"{self.text!r} occurs {len(starts)} times, so nth={self.nth} does not exist; nth counts from 0."
            )
        return Found(tuple((start, start + len(self.text)) for start in chosen))

    def _nearest(self, source: Source) -> str:
        if self.text in source.text:
            return (
                "It stands outside the searched part: in the chat template's own words, or outside the Within region."
            )
        return nearest(self.text, source.text)


@dataclass(frozen=True)
class Regex:
    """Every match of a regular expression; ``group`` picks a part of each match.

    Args:
        pattern: a pattern or compiled pattern; in a chat it runs on each message content.
        group: number or name of the group.
    """

    pattern: str | re.Pattern[str]
    group: int | str = 0

    def locate(self, source: Source) -> Found:
        """The group in every match; empty matches do not count."""
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            raise PromptError(f"{self.pattern!r} is not a regular expression: {error}.") from None
        if self.group not in (*range(compiled.groups + 1), *compiled.groupindex):
            names = f" and the names {list(compiled.groupindex)}" if compiled.groupindex else ""
            raise PromptError(
                f"the pattern {compiled.pattern!r} has no group {self.group!r}: it has 0 to {compiled.groups}{names}."
            )
        spans = [
            (low + match.start(self.group), low + match.end(self.group))
            for low, high in source.searched
            for match in compiled.finditer(source.text[low:high])
        ]
        ranges = tuple((start, end) for start, end in spans if end > start)
        if not ranges:
            why = f"only empty text for group {self.group!r}" if spans else "nothing"
            raise Absent(f"the pattern {compiled.pattern!r} matches {why} in the prompt.")
        return Found(ranges)


@dataclass(frozen=True)
class Chars:
    """Characters ``[start, end)`` of the plain prompt, or of the one region of :class:`Within`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not (_whole(self.start) and _whole(self.end)):
            raise PromptError(f"Chars takes two integers, found {self.start!r} and {self.end!r}.")
        if not 0 <= self.start < self.end:
            raise PromptError(f"Chars needs 0 <= start < end, found start {self.start} and end {self.end}.")

    def locate(self, source: Source) -> Found:
        """The one range."""
        regions = source.within or ((0, len(source.text)),)
        if len(regions) > 1:
            raise PromptError(f"Chars within several regions ({len(regions)}) is ambiguous; pick one, e.g. Message(0).")
        low, high = regions[0]
        if self.end > high - low:
            raise Absent(f"Chars({self.start}, {self.end}) reaches beyond the {high - low} characters there are.")
        return Found(((low + self.start, low + self.end),))


@dataclass(frozen=True)
class Role:
    """The contents of all chat messages of a role (without the template's own tokens around them)."""

    name: str

    def locate(self, source: Source) -> Found:
        """The contents of the messages of the role."""
        roles = list(dict.fromkeys(turn.role for turn in _turns(source, self)))
        if self.name not in roles:
            raise Absent(
                f"no message has the role {self.name!r}: the roles are {roles}{nearest_name(self.name, roles)}"
            )
        return _contents([turn for turn in source.turns if turn.role == self.name], self)


@dataclass(frozen=True)
class Message:
    """The content of one chat message, counted from 0, negative from the end."""

    index: int

    def __post_init__(self) -> None:
        if not _whole(self.index):
            raise PromptError(f"Message takes an integer, found {self.index!r}; for a role use Role({self.index!r}).")

    def locate(self, source: Source) -> Found:
        """The content of the message."""
        turns = _turns(source, self)
        if not -len(turns) <= self.index < len(turns):
            raise Absent(f"there is no message {self.index}: the chat has {len(turns)}, counted from 0.")
        return _contents([turns[self.index]], self)


@dataclass(frozen=True)
class Special:
    """Special tokens, by the tokenizer's name for them or as they are written.

    Args:
        token: ``"bos"`` (the first token of the prompt, if it is the tokenizer's bos or, for encoders, cls token),
            ``"eos"``, ``"cls"``, ``"sep"``, ``"mask"``, ``"unk"`` (every one of that id), a token as written such as
            ``"<|im_end|>"``, or ``"any"``: every special token. Padding never counts.
    """

    token: str = "any"

    def locate(self, source: Source) -> Found:
        """The positions of the tokens."""
        ids = source.special(self.token)
        looked_at = source.ids[:1] if self.token == "bos" else source.ids
        positions = tuple(index for index, token in enumerate(looked_at) if token in ids)
        if not positions:
            raise Absent(f"the prompt has no special token {self.token!r}.")
        return Found(positions=positions)


@dataclass(frozen=True)
class Within:
    """``selector``, looked for only inside ``region``.

    Example:
        >>> Within("capitals", Role("system"))
        Within(selector='capitals', region=Role(name='system'))
    """

    selector: Any
    region: Any

    def locate(self, source: Source) -> Found:
        """What ``selector`` finds in the text of ``region``."""
        region = as_selector(self.region).locate(source)
        if not region.ranges:
            raise PromptError(f"{self.region!r} has no characters to look in.")
        return as_selector(self.selector).locate(replace(source, searched=region.ranges, within=region.ranges))


@dataclass(frozen=True)
class Union:
    """Everything that any of ``parts`` selects; a list of selectors is the same."""

    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise PromptError("an empty list of selectors selects nothing; give at least one.")

    def locate(self, source: Source) -> Found:
        """The ranges and positions of all parts."""
        found = [as_selector(part).locate(source) for part in self.parts]
        return Found(
            tuple(place for one in found for place in one.ranges),
            tuple(place for one in found for place in one.positions),
        )


@singledispatch
def as_selector(value: Any) -> Selector:
    """The selector that a plain value stands for.

    Example:
        >>> as_selector("capitals"), as_selector((3, 9))
        (Substring(text='capitals', nth=None), Chars(start=3, end=9))
    """
    if callable(getattr(value, "locate", None)):
        return value  # type: ignore[no-any-return]
    raise PromptError(
        f"{value!r} is not a selector: pass a string, a compiled pattern, (start, end) characters, a list of these, "
        f"or one of "
        "Substring, Regex, Chars, Role, Message, Special, Within."
    )


@as_selector.register
def _(value: str) -> Selector:
    return Substring(value)


@as_selector.register
def _(value: re.Pattern) -> Selector:  # type: ignore[type-arg]
    return Regex(value)


@as_selector.register
def _(value: tuple) -> Selector:  # type: ignore[type-arg]
    return Chars(*value) if len(value) == 2 and all(map(_whole, value)) else Union(value)


@as_selector.register
def _(value: list) -> Selector:  # type: ignore[type-arg]
    return Union(tuple(value))


def _turns(source: Source, selector: Selector) -> tuple[Turn, ...]:
    if not source.turns:
        raise PromptError(f"{selector} needs chat messages, found plain text; pass [{{'role': ..., 'content': ...}}].")
    return source.turns


def _contents(turns: list[Turn], selector: Selector) -> Found:
    ranges = tuple(place for turn in turns for place in turn.ranges)
    if not ranges:
        raise Absent(f"{selector} has no text content.")
    return Found(ranges)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(starts: list[int]) -> str:
    return ", ".join(map(str, starts[:5])) + (", ..." if len(starts) > 5 else "")
