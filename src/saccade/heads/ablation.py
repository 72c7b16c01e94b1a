"""Taking heads out, and turning them up or down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saccade.core.edits import QueryRef, ScaleHeads
from saccade.core.sites import At

from .headset import HeadError


@dataclass(frozen=True, eq=False)
class ZeroAblation:
    """The output of heads becomes zero, before the output projection: ``z_h <- 0``.

    Not a uniform pattern, not a mean: a zero-ablated head adds nothing to the residual stream but the bias of the
    projection. Values are removed per query head, so heads that share keys and values are ablated one by one.

    Args:
        at: the heads; there is no default, for to ablate every head of a model is seldom meant.
        queries: query rows at which they are ablated; all by default.

    Example:
        >>> ZeroAblation(at={2: [0, 3]}).edits()[0].gamma
        0.0
    """

    at: At
    queries: QueryRef = None

    def __post_init__(self) -> None:
        if self.at is None:
            raise HeadError('ZeroAblation needs heads, found at=None; for all of them write at="*".')

    def edits(self) -> tuple[ScaleHeads, ...]:
        """One :class:`~saccade.core.edits.ScaleHeads` by 0."""
        return (ScaleHeads(0.0, self.at, self.queries),)


@dataclass(frozen=True, eq=False)
class HeadScaling:
    """The output of each head times its own factor: ``z_h <- gamma_h z_h``; heads without a factor stay.

    Args:
        gamma: layer (or site name) -> head -> factor.
        queries: query rows; all by default.

    Example:
        >>> [(edit.at, edit.gamma) for edit in HeadScaling({2: {0: 0.5, 3: 2.0}}).edits()]
        [({2: [0]}, 0.5), ({2: [3]}, 2.0)]
    """

    gamma: Mapping[int | str, Mapping[int, float]]
    queries: QueryRef = None

    def __post_init__(self) -> None:
        if not self.gamma or not all(isinstance(row, Mapping) and row for row in self.gamma.values()):
            raise HeadError(f"HeadScaling needs factors as {{layer: {{head: factor}}}}, found {self.gamma!r}.")

    def edits(self) -> Sequence[ScaleHeads]:
        """One :class:`~saccade.core.edits.ScaleHeads` for the heads that share a layer and a factor."""
        groups: dict[tuple[int | str, float], list[int]] = {}
        for layer, row in self.gamma.items():
            for head, factor in row.items():
                groups.setdefault((layer, factor), []).append(head)
        return [ScaleHeads(factor, {layer: heads}, self.queries) for (layer, factor), heads in groups.items()]
