"""Heads known by what is lost without them: temporal, context and memory heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from saccade.core.edits import ScaleHeads

from .headset import HeadError, HeadSet
from .scan import scan
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
    """

    score: Score = likelihood
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

        def difference(lm: Host, both: Mapping[str, Any]) -> float:
            return self.score(lm, both[self.needs]) - self.score(lm, both[self.spares])

        gains = scan(
            lm, data, lambda at: ScaleHeads(0.0, at=at), difference, among=among, kind=self.name, progress=progress
        )
        return gains.negated()


@dataclass(frozen=True)
class Temporal(Contrast):
    """Heads that facts of a year need and facts without a year do not: ``{"dated": ..., "undated": ...}``.

    Source: Park et al., "Does Time Have Its Place? Temporal Heads" (paper 135). Differs: the paper finds candidates by
    circuit analysis (EAP-IG) and confirms them by this knock-out; here every head is knocked out.
    """

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
