r"""Span markup: ``[[name|text]]``.

Grammar (a backslash is special only directly before something that would otherwise be markup):

============================  ==========================================================================
``[[name|text]]``             ``text`` belongs to the span ``name``; spans may nest
``[=[name|text]=]``           the same, verbatim: nothing inside is markup (any number of ``=``, both sides alike)
``[=[|text]=]``               verbatim text in no span
``\[[name|``, ``\]]``         the characters themselves; ``\\[[name|`` is one backslash and a span
============================  ==========================================================================

``[[`` that is not followed by a name and ``|`` is plain text (a nested list, say), and so is ``]]`` outside spans.
Inside a span,
single brackets balance: ``[[m|a[b[0]]]]`` is the span ``a[b[0]]``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from saccade.core.errors import PromptError

Range = tuple[int, int]

_NAME = r"[^\W\d][\w.\-]*"
_TOKEN = re.compile(
    rf"(?P<slashes>\\*)(?:(?P<open>\[\[(?P<name>{_NAME})\|)"
    rf"|(?P<verbatim>\[(?P<level>=+)\[(?P<verbatim_name>{_NAME})?\|)"
    r"|(?P<left>\[)|(?P<right>\]))"
)


@dataclass(frozen=True)
class Marked:
    """Text without its markup, and the half-open character ranges of every span in it."""

    plain: str
    ranges: Mapping[str, tuple[Range, ...]]


def parse(text: str) -> Marked:
    r"""Take the markup out of ``text``.

    Raises:
        PromptError: a span that is empty or never closed.

    Example:
        >>> parse("Obey: [[rule|answer in [[how|capitals]]]].")
        Marked(plain='Obey: answer in capitals.', ranges={'rule': ((6, 24),), 'how': ((16, 24),)})
        >>> parse(r"keep \[[this|as it is]] and [[1, 2], [3, 4]]").plain
        'keep [[this|as it is]] and [[1, 2], [3, 4]]'
    """
    parser, at = _Parser(text), 0
    while token := _TOKEN.search(text, at):
        parser.add(text[at : token.start()])
        at = parser.read(token)
    parser.add(text[at:])
    return parser.finish()


def mark(name: str, text: str) -> str:
    """Markup that puts exactly ``text`` into the span ``name``, whatever ``text`` holds.

    Use it to place a document of unknown content into a prompt.

    Example:
        >>> mark("doc", "see [[Paris|the capital]]")
        '[=[doc|see [[Paris|the capital]]]=]'
        >>> parse("Read " + mark("doc", "x = [[0]]]=]") + ".").ranges
        {'doc': ((5, 17),)}
    """
    if not re.fullmatch(_NAME, name):
        raise PromptError(
            f"{name!r} cannot be a span name in markup: use a letter or _, then letters, digits, _ . or -."
        )
    return _wrap(name, text)


def literal(text: str) -> str:
    """Markup that stands for exactly ``text``, in no span of its own.

    Example:
        >>> parse(literal("[[a|b]]"))
        Marked(plain='[[a|b]]', ranges={})
    """
    return _wrap("", text)


def _wrap(name: str, text: str) -> str:
    level = "="
    while (text + f"]{level}]").find(f"]{level}]") != len(text):
        level += "="
    return f"[{level}[{name}|{text}]{level}]"


@dataclass
class _Open:
    """A span whose end is still to come: how many brackets of its text are open, and whether some have closed."""

    name: str
    start: int
    where: int
    brackets: int = 0
    paired: bool = False


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pieces: list[str] = []
        self.length = 0
        self.stack: list[_Open] = []
        self.ranges: dict[str, list[Range]] = {}

    def add(self, piece: str) -> None:
        self.pieces.append(piece)
        self.length += len(piece)

    def read(self, token: re.Match[str]) -> int:
        """Take in one token; the position after it."""
        slashes, kind = token["slashes"], token.lastgroup
        inner = self.stack[-1] if self.stack else None
        if kind in ("open", "verbatim"):
            return self.opening(token, inner)
        closing = (
            inner is not None and kind == "right" and not inner.brackets and self.text.startswith("]", token.end())
        )
        if not closing or inner is None:
            self.add(token.group())
            self.balance(inner, 1 if kind == "left" else -1)
            return token.end()
        self.add(slashes[: len(slashes) // 2])
        if len(slashes) % 2:
            self.add("]]")
        else:
            self.stack.pop()
            self.close(inner.name, inner.start, inner.where)
        return token.end() + 1

    def opening(self, token: re.Match[str], inner: _Open | None) -> int:
        slashes = token["slashes"]
        self.add(slashes[: len(slashes) // 2])
        if len(slashes) % 2:
            self.add(token.group()[len(slashes) :])
            self.balance(inner, 2)
            return token.end()
        if token["open"]:
            self.stack.append(_Open(token["name"], self.length, token.start()))
            self.ranges.setdefault(token["name"], [])
            return token.end()
        closer = f"]{token['level']}]"
        end = self.text.find(closer, token.end())
        if end < 0:
            raise PromptError(self.unclosed(token.start(), closer))
        start = self.length
        self.add(self.text[token.end() : end])
        if name := token["verbatim_name"]:
            self.close(name, start, token.start())
        return end + len(closer)

    @staticmethod
    def balance(inner: _Open | None, brackets: int) -> None:
        if inner is not None:
            inner.paired |= brackets < 0 < inner.brackets
            inner.brackets = max(0, inner.brackets + brackets)

    def close(self, name: str, start: int, where: int) -> None:
        if self.length == start:
            raise PromptError(f"the span {name!r} opened at character {where} is empty: put text after its '|'.")
        self.ranges.setdefault(name, []).append((start, self.length))

    def finish(self) -> Marked:
        if self.stack:
            span = self.stack[-1]
            message = self.unclosed(span.where, "]]")
            if span.paired or span.brackets:
                message += (
                    " Brackets balance inside a span, and a single '[' took a ']' as its partner; where the text has "
                    f"an unmatched '[', use the verbatim form [=[{span.name}|...]=]."
                )
            raise PromptError(message)
        return Marked("".join(self.pieces), {name: tuple(found) for name, found in self.ranges.items()})

    def unclosed(self, where: int, closer: str) -> str:
        shown = repr(self.text[where : where + 30] + ("..." if len(self.text) > where + 30 else ""))
        return (
            f"the markup {shown} opened at character {where} is never closed: write {closer!r} after the span's text, "
            "or a backslash before the opening if it is not meant as markup."
        )
