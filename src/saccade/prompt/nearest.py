"""The passage of a text that is most like what was not found."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


def nearest(needle: str, text: str) -> str:
    """A sentence that shows where ``text`` comes closest to ``needle``, and how they differ where that is plain.

    Example:
        >>> nearest("answer in capitols", "Please answer in capitals.")
        "The nearest match is 'answer in capitals' at characters 7 to 25."
        >>> nearest("Answer", "an answer")
        "The nearest match is 'answer' at characters 3 to 9, which differs only in case, white space or Unicode form."
    """
    matcher = SequenceMatcher(None, needle, text, autojunk=False)
    block = matcher.find_longest_match()
    folded = SequenceMatcher(None, needle.lower(), text.lower(), autojunk=False).find_longest_match()
    if folded.size > block.size and len(needle) == len(needle.lower()) and len(text) == len(text.lower()):
        block = folded
    if not block.size:
        return "Nothing in the text is like it."
    start = max(0, block.b - block.a)
    end = min(len(text), block.b - block.a + len(needle))
    while 0 < start < block.b and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    start += len(text[start:end]) - len(text[start:end].lstrip())
    end = start + len(text[start:end].rstrip())
    found = text[start:end]
    same = ", which differs only in case, white space or Unicode form" if _loose(found) == _loose(needle) else ""
    return f"The nearest match is {found!r} at characters {start} to {end}{same}."


def nearest_name(name: str, names: Iterable[str]) -> str:
    """ "; did you mean ...?" for a misspelt name, or nothing.

    Example:
        >>> nearest_name("sytem", ["system", "user"])
        "; did you mean 'system'?"
    """
    near = get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _loose(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
