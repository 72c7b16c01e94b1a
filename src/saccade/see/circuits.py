"""[63] Circuits of heads: which a task uses, how much two tasks share, and a repair of one by the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.edits import QueryRef, Reallocate
from saccade.core.errors import MeasureError
from saccade.core.sites import At


def circuit(scores: Tensor, top: int) -> Tensor:
    """The heads of a circuit: those with the ``top`` largest scores, ``[L, H, ...]`` -> boolean of the same shape.

    Args:
        scores: of :func:`~saccade.see.path_patching`, by sample or averaged.
        top: how many heads.

    Example:
        >>> circuit(torch.tensor([[3.0, 0.0], [1.0, 2.0]]), top=2).tolist()
        [[True, False], [False, True]]
    """
    if scores.dim() < 2 or not 0 < top <= scores.shape[0] * scores.shape[1]:
        raise MeasureError(f"a circuit of 1 or more heads is cut from scores [L, H, ...], found top={top}.")
    flat = scores.flatten(0, 1)
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    return chosen.scatter(0, flat.topk(top, dim=0).indices, True).view(scores.shape)


def reuse(a: Tensor, b: Tensor, top: int) -> Tensor:
    """Share of the heads of one task's circuit that another's has too, by sample: ``[L, H, ...]`` -> ``[...]``.

    Source: paper 63 (78 % of the heads of two circuits of GPT-2 medium).

    Example:
        >>> reuse(torch.tensor([[3.0, 2.0, 1.0, 0.0]]), torch.tensor([[9.0, 0.0, 8.0, 1.0]]), top=2).item()
        0.5
    """
    if a.shape != b.shape:
        raise MeasureError(
            f"two circuits of one model have scores of one shape, found {list(a.shape)}, {list(b.shape)}."
        )
    both = circuit(a, top) & circuit(b, top)
    return both.flatten(0, 1).float().sum(0) / top


@dataclass(frozen=True, eq=False)
class Repair:
    """Heads of a circuit are made to look where they look in the task that works: a share of their attention on a span.

    All other keys share the rest in proportion. If heads that come after do what they do in the other task, the circuit
    works here too.

    Args:
        at: the heads.
        span: where they look.
        share: of their attention.
        queries: query rows; the last by default.

    Source: Merullo et al., "Circuit Component Reuse Across Tasks in Transformer Language Models" (paper 63), section 5:
    four heads of GPT-2 medium are made to look at the colours that are not the answer, which repairs 'colored objects'.

    Example:
        >>> Repair(at={1: [2]}, span="value").edits()[0].spans
        ('value',)
    """

    at: At
    span: str
    share: float = 1.0
    queries: QueryRef = (-1,)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise MeasureError(f"Repair: a share of attention lies between 0 and 1, found {self.share}.")

    def edits(self) -> tuple[Reallocate, ...]:
        """One :class:`~saccade.core.edits.Reallocate` to the share."""
        return (Reallocate(lambda mass: torch.full_like(mass, self.share), (self.span,), self.at, self.queries),)
