"""Attention at one call as an operator that can be applied again, to other values and with other measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from saccade.core.attention import Result
from saccade.core.edits import Edit, Recipe
from saccade.core.measures import Measure
from saccade.core.sites import Site
from saccade.core.spans import Spans

from .call import Call


@dataclass(frozen=True, eq=False)
class Operator:
    """Attention at one call: its queries, keys, values and mask, and the edits of every open context.

    Attributes:
        call: what the model asked for.
        edits: the edits of the open contexts, as they act here.
        spans: the spans that these edits name.
    """

    call: Call
    edits: tuple[Edit, ...] = ()
    spans: Spans | None = None

    @property
    def site(self) -> Site:
        """Where the call happened."""
        return self.call.site

    def run(
        self,
        *,
        values: Tensor | None = None,
        spans: Spans | None = None,
        edits: Sequence[Edit | Recipe] = (),
        measures: Sequence[Measure] = (),
    ) -> Result:
        """Run the engine again.

        Args:
            values: other values ``[B, Hkv, K, Dv]``.
            spans: further spans, for the further edits and measures.
            edits: edits that act after those of the open contexts.
            measures: what to read.
        """
        call = self.call if values is None else replace(self.call, v=values)
        named = self.spans if spans is None else spans if self.spans is None else self.spans | spans
        return call.run(spans=named, edits=(*self.edits, *edits), measures=measures)

    def detached(self) -> Operator:
        """The same operator, apart from the graph of gradients and without dropout."""
        call = self.call
        return replace(self, call=replace(call, q=call.q.detach(), k=call.k.detach(), v=call.v.detach(), dropout=0.0))
