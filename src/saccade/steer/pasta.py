"""PASTA: emphasis of spans on a few profiled heads (paper 60)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from saccade.core.edits import Outside, QueryRef, Scale
from saccade.core.errors import EditError
from saccade.core.sites import At
from saccade.heads import HeadError, HeadSet, accuracy, scan
from saccade.heads.scoring import Data, Score

from .span import SpanNames, names_of, number

if TYPE_CHECKING:
    from saccade.hosts import Host

NEW_TOKENS = ("kept", "scaled")


@dataclass(frozen=True, eq=False)
class PASTA:
    r"""Post-hoc Attention STeering: keys outside the emphasised spans lose attention, in some heads.

    For every query row i of the heads ``at``, with G the union of the spans and A the attention ``[B, H, Q, K]``,

    .. math:: A'_{ij} = A_{ij} / C_i \text{ for } j \in G, \qquad
              A'_{ij} = \alpha A_{ij} / C_i \text{ otherwise}, \qquad C_i \text{ such that the row sums to } 1.

    Scale-out (``exclude``, the default) multiplies the rest by ``alpha``; scale-in (``include``) multiplies G by
    ``strength``. They are the same edit where ``strength = 1 / alpha``. More strength is always more attention.

    Args:
        span: name of the emphasised span, or a tuple of names: their union, once.
        alpha: factor of the rest in scale-out, in (0, 1); 0.01 as published where neither it nor ``strength`` is given.
        strength: factor of the spans, greater than 1, for scale-in.
        at: the heads; the paper steers a profiled subset (:meth:`profile`). All by default.
        new_tokens: what becomes of generated keys. ``"kept"``: they keep their weight as the spans do, which is what
            the published code does. ``"scaled"``: they count as the rest, as the equation has it.
        queries: query rows; all by default, as published.

    Source: Zhang et al., "Tell Your Model Where to Attend: Post-hoc Attention Steering for LLMs" (paper 60), and its
    published code. Differs from the code in three ways: several spans are steered as their union, where the code
    treats each span as outside of every other; padding and causal masks are untouched, for nothing is written into
    them; and a factor that would turn the effect round is refused.

    On bare tensors there are no generated keys: give a span of that name, or ``new_tokens="scaled"``.

    Raises:
        EditError: a hyper-parameter out of range, or both ``alpha`` and ``strength``.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> lm = sc.attach(model)
        >>> spans = sc.Spans.from_ranges({"rule": [(2, 5)]}, length=9)
        >>> with lm.steer(PASTA("rule", strength=20.0, at={1: [0, 3]}), spans=spans) as effect:
        ...     output = lm(input_ids=torch.arange(9)[None])
        >>> effect[0].before < effect[0].after
        True
    """

    span: SpanNames
    alpha: float | None = None
    strength: float | None = None
    at: At = None
    new_tokens: Literal["kept", "scaled"] = "kept"
    queries: QueryRef = None

    def __post_init__(self) -> None:
        names_of("PASTA", self.span)
        if self.alpha is not None and self.strength is not None:
            raise EditError(
                f"PASTA either scales the rest by alpha or the span by strength, found alpha={self.alpha!r} and "
                f"strength={self.strength!r}; give one of them."
            )
        if self.strength is not None:
            number("PASTA", "strength", self.strength, 1.0, math.inf, "it multiplies the attention on the span")
        elif self.alpha is None:
            object.__setattr__(self, "alpha", 0.01)
        else:
            why = (
                "it multiplies the attention on everything outside the span; to multiply the span itself give strength"
            )
            number("PASTA", "alpha", self.alpha, 0.0, 1.0, why)
        if self.new_tokens not in NEW_TOKENS:
            raise EditError(f"PASTA: new_tokens is one of {NEW_TOKENS}, found {self.new_tokens!r}.")

    @property
    def mode(self) -> str:
        """``"exclude"`` (the rest is scaled down) or ``"include"`` (the span is scaled up)."""
        return "exclude" if self.strength is None else "include"

    def edits(self) -> tuple[Scale, ...]:
        """One :class:`~saccade.core.edits.Scale`."""
        names = names_of("PASTA", self.span)
        kept = names if self.new_tokens == "scaled" else tuple(dict.fromkeys((*names, "generated")))
        if self.strength is not None:
            return (Scale(kept, self.strength, self.at, self.queries),)
        assert self.alpha is not None
        return (Scale(Outside(*kept), self.alpha, self.at, self.queries),)

    def profile(
        self,
        lm: Host,
        tasks: Data | Mapping[str, Data],
        *,
        score: Score = accuracy,
        top: int | float | None = None,
        combine: Literal["intersection", "union"] = "intersection",
        among: HeadSet | None = None,
        progress: bool = True,
    ) -> HeadSet:
        """Find the heads to steer: each head is steered alone, the heads are ranked, the best are kept.

        With several tasks (the paper's multi-task profiling) each task ranks the heads, and those are kept that are
        among its ``top`` in every task (or, with ``"union"``, in any). The paper takes about 1000 samples a task and
        several hundred heads of a 7 B model.

        Args:
            lm: an attached model.
            tasks: a labelled set whose prompts have the span (see :mod:`saccade.heads.scoring`), or several by name.
            score: ``score(lm, data)``, more is better.
            top: number or share of the heads that each task keeps; all by default.
            combine: what several tasks keep together.
            among: the heads to try; all of the main stack by default.
            progress: show a progress bar.

        Returns:
            The heads, ranked by their gain over the unsteered model (mean over the tasks).

        Raises:
            HeadError: the tasks agree on no head.
        """
        if combine not in ("intersection", "union"):
            raise EditError(f'combine is "intersection" or "union", found {combine!r}.')
        named = tasks if isinstance(tasks, Mapping) else {"": tasks}
        if not named:
            raise EditError("PASTA.profile needs at least one task, found none.")
        ranked = {
            name: scan(
                lm,
                data,
                lambda at: replace(self, alpha=None if self.strength else self.alpha, at=at),
                score,
                among=among,
                kind=f"PASTA {name}".strip(),
                progress=progress,
            )
            for name, data in named.items()
        }
        best = [gains if top is None else gains.top(top) for gains in ranked.values()]
        kept = best[0]
        for other in best[1:]:
            kept = kept & other if combine == "intersection" else kept | other
        if not len(kept):
            raise HeadError(f"no head is among the best {top} of all {len(best)} tasks; raise top.")
        gain = dict.fromkeys((head.place for head in kept), 0.0)
        for gains in ranked.values():
            for head in gains:
                if head.place in gain:
                    gain[head.place] += head.score / len(ranked)
        return HeadSet([(*place, score) for place, score in gain.items()], "PASTA", kept.model)
