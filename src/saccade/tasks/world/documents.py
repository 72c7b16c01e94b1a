"""Several documents, of which one answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.task import register
from saccade.tasks.world.reading import Reading


@register
@dataclass(frozen=True, kw_only=True)
class Documents(Reading):
    """Two to sixteen documents of three facts; `position` sets where the one that answers stands [190, 288, 96].

    Accuracy over `position` is the U curve of "lost in the middle".
    """

    name: ClassVar[str] = "world/documents"
    papers: ClassVar[tuple[int, ...]] = (190, 288, 96)

    per_document: int = 3

    @property
    def count(self) -> int:
        return self.facts or 3 * {1: 2, 2: 4, 3: 8, 4: 12, 5: 16}[self.difficulty]
