"""Claims by the number of their paper. A claim is found by the name of its file and imported when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING

from saccade.core.errors import SaccadeError

from .catalogue import papers

if TYPE_CHECKING:
    from .result import Result

Function = Callable[[bool, int], "Result"]
_REGISTRY: dict[int, Claim] = {}


class ClaimError(SaccadeError):
    """A claim that is malformed or does not exist."""


@dataclass(frozen=True)
class Claim:
    """An executable claim.

    Attributes:
        id: number of the paper.
        text: what it claims.
        function: from (quick, seed) to a result.
        uses: modules and zoo models (``"zoo:reader"``) whose change makes saved results stale, beside its own file.
    """

    id: int
    text: str
    function: Function
    uses: tuple[str, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """All that its result depends on by name, its own module first."""
        return (self.function.__module__, *self.uses)


def claim(number: int, text: str, uses: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """Register a function ``(quick, seed) -> Result`` as the claim of a paper.

    The module that the catalogue names for the paper counts among ``uses`` by itself.
    """
    where = papers[number].where

    def register(function: Function) -> Function:
        _REGISTRY[number] = Claim(number, text, function, tuple(dict.fromkeys((where, *uses))) if where else uses)
        return function

    return register


@cache
def claimed() -> dict[int, str]:
    """Paper number -> module of its claim, in the order of the numbers; imports nothing.

    The file is ``claims/<family>/<name>_<number>.py``.
    """
    found: dict[int, str] = {}
    for folder in files("saccade.repro.claims").iterdir():
        if folder.is_dir():
            for file in folder.iterdir():
                if match := re.fullmatch(r"(\w+_(\d+))\.py", file.name):
                    found[int(match[2])] = f"saccade.repro.claims.{folder.name}.{match[1]}"
    return dict(sorted(found.items()))


def find(number: int) -> Claim:
    """The claim of a paper.

    Raises:
        PaperError: there is no such paper.
        ClaimError: the paper has no executable claim.
    """
    paper = papers[number]
    if number not in claimed():
        raise ClaimError(
            f"paper {number} ({paper.title}) has no executable claim yet, its status is {paper.status!r}; "
            f"those that have one: {', '.join(map(str, claimed()))}."
        )
    import_module(claimed()[number])
    return _REGISTRY[number]
