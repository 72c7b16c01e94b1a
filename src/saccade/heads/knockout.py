"""Heads known by what is lost without them: temporal, context and memory heads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .headset import Head, HeadError, HeadSet
from .scan import importance
from .scoring import Score, likelihood

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True)
class Contrast:
    """Heads that one labelled set needs more than another, by zero-ablation of each head alone.

    With ℓ(D) the mean log-probability of the answers of D, in nats, and ℓ_{-h} without head h,

    .. math:: s_h = [ℓ(D_+) - ℓ_{-h}(D_+)] - [ℓ(D_-) - ℓ_{-h}(D_-)]

    Takes one pass over both sets for each head. The data are labelled sets (:mod:`saccade.heads.scoring`) by name.

    Args:
        score: ``score(lm, labelled set)``, more is better; :func:`~saccade.heads.likelihood` by default.
        tolerance: heads that cost D_- more than this are left out.
    """

    score: Score = likelihood
    tolerance: float = math.inf
    name: ClassVar[str] = "contrast"
    needs: ClassVar[str] = "needed"
    spares: ClassVar[str] = "spared"

    def __call__(self, lm: Host, data: Any, *, among: HeadSet | None = None, progress: bool = True) -> HeadSet:
        """Every head of the main stack with its score."""
        if not isinstance(data, Mapping) or set(data) != {self.needs, self.spares}:
            found = sorted(data) if isinstance(data, Mapping) else type(data).__name__
            raise HeadError(
                f'{self.name} needs two labelled sets, {{"{self.needs}": ..., "{self.spares}": ...}}; found {found}.'
            )

        lost = {
            name: importance(lm, data[name], self.score, among=among, progress=progress)
            for name in (self.needs, self.spares)
        }
        aside = {head.place: head.score for head in lost[self.spares]}
        kept = [head for head in lost[self.needs] if aside[head.place] <= self.tolerance]
        if not kept:
            raise HeadError(f"{self.name}: every head costs the set {self.spares!r} more than {self.tolerance}.")
        rest = [Head(*head.place, head.score - aside[head.place]) for head in kept]
        return HeadSet(rest, self.name, lost[self.needs].model)


@dataclass(frozen=True)
class Temporal(Contrast):
    """Heads that facts of a year need and facts without a year do not: ``{"dated": ..., "undated": ...}``.

    As in the paper, a head that undated facts need too is no temporal head: ``tolerance`` is 0.1 nats by default.

    Source: Park et al., "Does Time Have Its Place? Temporal Heads" (paper 135). Differs: the paper takes heads that are
    in the circuits of dated facts (EAP-IG) and in none of the others, and confirms them by this knock-out; here every
    head is knocked out.
    """

    tolerance: float = 0.1
    name: ClassVar[str] = "temporal"
    needs: ClassVar[str] = "dated"
    spares: ClassVar[str] = "undated"


@dataclass(frozen=True)
class Context(Contrast):
    """Heads that take the side of the context where it contradicts the weights.

    The data are the same prompts with either answer: ``{"context": ..., "memory": ...}``.

    Source: Li et al., "Taming Knowledge Conflicts in Language Models" (paper 352), after the knock-out of Jin et al.
    (2024). Differs: one score for both sides, since log-probabilities of the two answers are compared.
    """

    name: ClassVar[str] = "context"
    needs: ClassVar[str] = "context"
    spares: ClassVar[str] = "memory"


@dataclass(frozen=True)
class Memory(Contrast):
    """Heads that take the side of the weights where the context contradicts them; :class:`Context` turned round."""

    name: ClassVar[str] = "memory"
    needs: ClassVar[str] = "memory"
    spares: ClassVar[str] = "context"
