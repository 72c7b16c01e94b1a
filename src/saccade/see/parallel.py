"""[159] Parallel context encoding: contexts that do not see each other, and two remedies for its entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.edits import Mask, Reallocate
from saccade.core.errors import MeasureError
from saccade.core.sites import At
from saccade.core.spans import Spans


@dataclass(frozen=True, eq=False)
class ParallelContexts:
    r"""Encode contexts side by side, in a decoder: no token of one sees another, and all stand at the same positions.

    The rest of the prompt (what comes before the contexts, and the question behind them) is attended to as usual. With
    ``keep``, the rows behind the contexts read, head by head and row by row, only those k contexts that hold most of
    their attention mass, and what the others held goes to everything else in proportion:
    :math:`A'_{ij} = A_{ij} / (1 - \sum_{c \notin \mathrm{top}_k} m_c(i))`.

    Give :meth:`edits` to ``lm.steer`` and :meth:`positions` to the model as ``position_ids``.

    Args:
        contexts: names of the contexts' spans in the order in which they stand, two at least, disjoint.
        shared: name of the span of a prefix before the contexts. It is the shared sink of the paper.
        sink: whether contexts see the shared prefix; False is the naive form, in which each begins with nothing before
            it and makes a sink of its own.
        keep: how many contexts a row reads (the paper's selective mechanism); None is all.
        question: name of the span of the rows that select; needed with ``keep``.
        at: sites and heads at which contexts are selected; contexts are kept apart everywhere.

    Source: paper 159, sections 3 and 5: parallel encoding raises the entropy of the question's attention, and a shared
    sink or selection lowers it. The paper scores contexts by the attention logits of their tokens; here by their mass,
    which the fused kernel gives exactly.

    Example:
        >>> spans = Spans.from_ranges({"start": [(0, 1)], "a": [(1, 4)], "b": [(4, 6)], "ask": [(6, 8)]}, length=8)
        >>> parallel = ParallelContexts(("a", "b"), shared="start", keep=1, question="ask")
        >>> parallel.positions(spans).tolist()
        [[0, 1, 2, 3, 1, 2, 4, 5]]
        >>> len(parallel.edits())
        2
    """

    contexts: tuple[str, ...]
    shared: str | None = None
    sink: bool = True
    keep: int | None = None
    question: str | None = None
    at: At = None

    def __post_init__(self) -> None:
        if len(self.contexts) < 2 or len(set(self.contexts)) < len(self.contexts):
            raise MeasureError(f"ParallelContexts needs two or more different contexts, found {self.contexts}.")
        if not self.sink and self.shared is None:
            raise MeasureError("sink=False hides the shared prefix from the contexts: name its span with shared=.")
        if self.keep is not None and not 1 <= self.keep <= len(self.contexts):
            raise MeasureError(f"keep is from 1 to the number of contexts, {len(self.contexts)}; found {self.keep}.")
        if (self.keep is None) != (self.question is None):
            raise MeasureError("keep= and question= belong together: the rows of the question select.")

    def edits(self) -> tuple[Mask | Reallocate, ...]:
        """A mask for each context, and the selection."""
        hidden = () if self.sink or self.shared is None else (self.shared,)
        seen = [(own, (*hidden, *self.contexts[:index])) for index, own in enumerate(self.contexts)]
        apart = [Mask(others, queries=own) for own, others in seen if others]
        if self.keep is None:
            return tuple(apart)
        return (*apart, Reallocate(self.selected, self.contexts, at=self.at, queries=self.question))

    def selected(self, mass: Tensor) -> Tensor:
        """Masses on the contexts ``[..., S]`` once the lesser ones are given up.

        Example:
            >>> ParallelContexts(("a", "b", "c"), keep=1, question="ask").selected(torch.tensor([0.2, 0.1, 0.3]))
            tensor([0.0000, 0.0000, 0.4286])
        """
        assert self.keep is not None
        best = torch.zeros_like(mass).scatter(-1, mass.topk(self.keep, dim=-1).indices, 1.0)
        kept = mass * best
        dropped = (mass * (1 - best)).sum(-1, keepdim=True)
        return kept / (1 - dropped)

    def positions(self, spans: Spans, real: Tensor | None = None) -> Tensor:
        """Position ids ``[B, N]``: every context begins where the prefix ends, the rest follows the longest one.

        Args:
            spans: of the prompt; what stands between contexts belongs to none of them and is refused.
            real: tokens that are not padding; padding gets position 0.
        """
        whole = torch.ones(spans.batch, spans.length, dtype=torch.long)
        whole = whole if real is None else real.long().cpu()
        own = torch.stack([spans[name].cpu().expand(len(whole), -1) for name in self.contexts]).bool()
        if bool((own.sum(0) > 1).any()) or not bool(own.any(-1).all()):
            raise MeasureError("contexts are disjoint, each with a token in every sample; these overlap or are empty.")
        inside = own.any(0)
        first = inside.long().argmax(-1, keepdim=True)
        last = spans.length - 1 - inside.long().flip(-1).argmax(-1, keepdim=True)
        index = torch.arange(spans.length)
        if bool((~inside & (index > first) & (index < last)).any()):
            raise MeasureError("between the contexts stand tokens of none of them: let the spans meet.")
        before = (whole * (index < first)).cumsum(-1) - 1
        count = (whole * (index < first)).sum(-1, keepdim=True)
        places = torch.where(index < first, before, 0)
        for each in own:
            places = torch.where(each, count + each.long().cumsum(-1) - 1, places)
        longest = own.sum(-1).amax(0)[:, None]
        places = torch.where(index > last, count + longest + index - last - 1, places)
        return (places * whole).clamp_min(0)
