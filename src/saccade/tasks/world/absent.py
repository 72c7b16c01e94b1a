"""Questions that the documents do not answer."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.example import Example
from saccade.tasks.task import register
from saccade.tasks.world.reading import Reading


@register
@dataclass(frozen=True, kw_only=True)
class Absent(Reading):
    """Half of the questions have no answer, and the honest reply is `unknown`; any other is invented [198].

    The subject and the relation asked for both occur in the documents, but not together.
    """

    name: ClassVar[str] = "world/absent"
    papers: ClassVar[tuple[int, ...]] = (198,)

    absent: float = 0.5

    def guess(self, example: Example, rng: random.Random) -> str:
        return "unknown" if rng.random() < 0.5 else super().guess(example, rng)

    @property
    def chance(self) -> float:
        return 0.5 * (self.absent + (1 - self.absent) * super().chance)

    def invented(self, example: Example, reply: str) -> bool:
        """Whether the reply states something where the documents state nothing."""
        return bool(example.meta["absent"]) and not self.check(example, reply)
