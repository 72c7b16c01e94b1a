"""Split-softmax: hold the attention on the system prompt up as a dialogue grows (paper 180)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from saccade.core.edits import QueryRef, Reallocate
from saccade.core.errors import EditError
from saccade.core.sites import At

from .span import SpanNames, in_proportion, names_of


@dataclass(frozen=True, eq=False)
class SplitSoftmax:
    r"""The mass on the system prompt becomes a power of itself, exactly, row by row.

    With :math:`\pi_i` the attention mass of row i on the span (A is ``[B, H, Q, K]``),

    .. math:: A'_{ij} = \frac{\pi_i^k}{\pi_i} A_{ij} \text{ in the span}, \qquad
              A'_{ij} = \frac{1 - \pi_i^k}{1 - \pi_i} A_{ij} \text{ elsewhere}.

    ``k = 1`` changes nothing; the smaller k, the more attention. The less attention is left, the larger the factor
    :math:`\pi^{k-1}`, so that the edit works where attention has decayed and hardly touches a row that still attends.

    Args:
        k: the exponent, in [0, 1]. It has no default: the paper tunes it.
        span: name of the span, or a tuple of names of disjoint spans; the system messages of a chat by default.
        at: the heads; all by default, as in the paper.
        queries: query rows; all by default. Rows of the span itself, which see little else, hardly change.

    Source: Li et al., "Measuring and Controlling Instruction (In)Stability in Language Model Dialogs" (paper 180); the
    equation is the paper's, its released code does not have the method. The sum over the tokens is taken through the
    exact masses, in two passes of the fused kernel.

    Raises:
        EditError: k outside [0, 1].

    Example:
        >>> import torch, saccade as sc
        >>> q, k, v = (torch.randn(1, 2, 6, 8) for _ in range(3))
        >>> spans = sc.Spans.from_ranges({"system": [(0, 2)]}, length=6)
        >>> masses = [sc.Mass(edited=False), sc.Mass()]
        >>> r = sc.attention(q, k, v, spans=spans, edits=[SplitSoftmax(0.5)], measures=masses)
        >>> torch.allclose(r["mass"], r["mass_before"].sqrt(), atol=1e-6)
        True
    """

    k: float
    span: SpanNames = "system"
    at: At = None
    queries: QueryRef = None

    def __post_init__(self) -> None:
        names_of("SplitSoftmax", self.span)
        if not isinstance(self.k, int | float) or isinstance(self.k, bool) or not 0.0 <= self.k <= 1.0:
            raise EditError(
                f"SplitSoftmax: k is an exponent in [0, 1] (1 changes nothing, less is more attention), found "
                f"{self.k!r}."
            )

    def edits(self) -> tuple[Reallocate, ...]:
        """One :class:`~saccade.core.edits.Reallocate`."""
        return (Reallocate(self.wanted, names_of("SplitSoftmax", self.span), self.at, self.queries),)

    def wanted(self, mass: Tensor) -> Tensor:
        """Masses after the edit, from the masses ``[..., S]`` before it."""
        return in_proportion(mass, mass.sum(dim=-1, keepdim=True).clamp(0.0, 1.0) ** self.k)
