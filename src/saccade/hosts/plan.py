"""What edits and measures would cost at every site of a model, without running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from saccade.core import planner
from saccade.core.atoms import everything, partition
from saccade.core.compiler import Compiler
from saccade.core.edits import Edit
from saccade.core.errors import EditError
from saccade.core.measures import Measure
from saccade.core.planner import Plan
from saccade.core.program import Program
from saccade.core.sites import Site
from saccade.core.spans import Spans
from saccade.core.visibility import build

from .localise import mentioned


@dataclass(frozen=True)
class ModelPlan:
    """Plans by site name. ``str(plan)`` shows sites with one plan together.

    Attributes:
        length: tokens that the plans are for.
    """

    plans: Mapping[str, Plan]
    length: int

    @property
    def ratio(self) -> float:
        """Estimated work of all attention, relative to plain attention."""
        plans = self.plans.values()
        return sum(plan.flops for plan in plans) / max(1.0, sum(plan.plain_flops for plan in plans))

    def __getitem__(self, site: str) -> Plan:
        return self.plans[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plans)

    def __len__(self) -> int:
        return len(self.plans)

    def __str__(self) -> str:
        groups: dict[str, list[str]] = {}
        for site, plan in self.plans.items():
            groups.setdefault(str(plan), []).append(site)
        parts = [f"{_several(sites)}: {text}" for text, sites in groups.items()]
        head = f"{len(self.plans)} sites, {self.length} tokens, about {self.ratio:.2f}x the work of plain attention"
        return "\n".join([head, *parts])


def plan_site(
    site: Site, width: int, causal: bool, edits: Sequence[Edit], measures: Sequence[Measure], length: int
) -> Plan:
    """Plan of one call at ``site`` on ``length`` tokens, with spans of moderate size somewhere in the middle."""
    q = torch.zeros(()).expand(1, site.heads, length, width)
    k = torch.zeros(()).expand(1, site.kv_heads, length, width)
    names = tuple(dict.fromkeys(name for item in (*edits, *measures) for name in mentioned(item)))
    spans = _example(names or ("span",), length)
    needed = names or (spans.names if any(hasattr(item, "spans") for item in (*edits, *measures)) else ())
    program = Program(
        q=q,
        k=k,
        v=k,
        scale=width**-0.5,
        visible=build((1, site.heads, length, length), q.device, causal, None, None, None),
        atoms=partition(spans, needed) if needed else everything(length, q.device),
        out_dtype=q.dtype,
        span_names=spans.names,
    )
    return planner.plan(Compiler(program, spans, None, site).run(edits), measures, "auto")


def _example(names: tuple[str, ...], length: int) -> Spans:
    """Disjoint spans, one after the other, that leave the first token alone."""
    size = max(1, length // (2 * len(names) + 1))
    if 1 + size * len(names) > length:
        raise EditError(f"a plan on {length} tokens has no room for {len(names)} spans; give a larger length.")
    return Spans.from_ranges({n: [(1 + i * size, 1 + (i + 1) * size)] for i, n in enumerate(names)}, length)


def _several(sites: Sequence[str]) -> str:
    return sites[0] if len(sites) == 1 else f"{sites[0]} to {sites[-1]} ({len(sites)} sites)"
