"""Facts given only in the context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.task import register
from saccade.tasks.world.reading import Reading


@register
@dataclass(frozen=True, kw_only=True)
class Context(Reading):
    """One document of facts about strange lands and people; the answer must be read there [188].

    Difficulty: 4, 8, 16, 32, 48 facts.
    """

    name: ClassVar[str] = "world/context"
    papers: ClassVar[tuple[int, ...]] = (188,)

    per_document: int = 64
