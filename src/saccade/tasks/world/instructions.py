"""Instructions on the form of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.task import register
from saccade.tasks.world.forms import KINDS
from saccade.tasks.world.reading import Reading


@register
@dataclass(frozen=True, kw_only=True)
class Instructions(Reading):
    """The system part says how to answer [60, 180].

    In capitals, in another language, with a word before or after, subject first or last.

    Span `rule` is that sentence. A reply counts when content and form are right.
    """

    name: ClassVar[str] = "world/instructions"
    papers: ClassVar[tuple[int, ...]] = (60, 180)

    forms: tuple[str, ...] = KINDS
