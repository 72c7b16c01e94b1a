"""An exact share of the attention for a span."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.edits import QueryRef, Reallocate
from saccade.core.sites import At

from .span import SpanNames, in_proportion, names_of, number


@dataclass(frozen=True, eq=False)
class TargetShare:
    r"""Every row gives the span the share t of its attention, exactly.

    With :math:`p_i` the attention mass of row i on the span (A is ``[B, H, Q, K]``),

    .. math:: A'_{ij} = \frac{t}{p_i} A_{ij} \text{ in the span}, \qquad
              A'_{ij} = \frac{1 - t}{1 - p_i} A_{ij} \text{ elsewhere},

    the same as a bias of :math:`\mathrm{logit}(t) - \mathrm{logit}(p_i)` on the span. (The bias
    :math:`\log (t / p_i)`, which is used elsewhere, reaches only :math:`t / (t + 1 - p_i)`.) The share is per sample,
    head and row, not on average over them. A row that sees nothing of the span, or nothing else, stays.

    Args:
        span: name of the span, or a tuple of names of disjoint spans, which share t in proportion to their masses.
        share: t, in (0, 1).
        at_least: only raise: rows that give the span more than t stay.
        at: the heads; all by default.
        queries: query rows; all by default.

    Source: none; the exact form of what target-proportion steering approximates.

    Raises:
        EditError: t outside (0, 1).

    Example:
        >>> import torch, saccade as sc
        >>> q, k, v = (torch.randn(1, 2, 6, 8) for _ in range(3))
        >>> spans = sc.Spans.from_ranges({"rule": [(1, 3)]}, length=6)
        >>> r = sc.attention(q, k, v, spans=spans, edits=[TargetShare("rule", 0.3)], measures=[sc.Mass()])
        >>> torch.allclose(r["mass"], torch.tensor(0.3), atol=1e-5)
        True
    """

    span: SpanNames
    share: float
    at_least: bool = False
    at: At = None
    queries: QueryRef = None

    def __post_init__(self) -> None:
        names_of("TargetShare", self.span)
        number(
            "TargetShare", "share", self.share, 0.0, 1.0, "it is the part of its attention that a row gives the span"
        )

    def edits(self) -> tuple[Reallocate, ...]:
        """One :class:`~saccade.core.edits.Reallocate`."""
        return (Reallocate(self.wanted, names_of("TargetShare", self.span), self.at, self.queries),)

    def wanted(self, mass: Tensor) -> Tensor:
        """Masses after the edit, from the masses ``[..., S]`` before it."""
        now = mass.sum(dim=-1, keepdim=True)
        target = torch.full_like(now, self.share)
        return in_proportion(mass, torch.maximum(target, now.clamp(max=1.0)) if self.at_least else target)
