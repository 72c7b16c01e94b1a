"""[217] Key-driven groups against even ones."""

from __future__ import annotations

from saccade.mechanisms import Layer, Projected
from saccade.mechanisms.heads.grouped_query import regroup
from saccade.repro.claims.mech_head.shared import SIZES, USES, converted, fresh, lines, taking_over, train_on
from saccade.repro.host import Mixer, loss, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop

RATE, FURTHER, BAR, GROUPS, WINDOWS = 6e-3, 2e-3, 0.0, 4, 4


def even(layer: Projected) -> Projected:
    """``layer`` with its eight key-value heads averaged to four that serve two queries each."""
    return regroup(layer, GROUPS)


@claim(
    217,
    "queries allotted to averaged key-value heads by the norms of their keys, anew as these change over further "
    "training, lose less than even groups",
    uses=(*USES, "saccade.mechanisms.heads.grouped_query", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules; a unit is one multi-head model and its conversions, trained on alike.

    The claim is about averages of norms (DGQA); differences of norms are in the details. Further training takes a
    fifth of the steps and allots four times.
    """
    runs, steps = (3, 80) if quick else (3, 200)
    measure, losses, allotted = fresh(seed, 128 if quick else 512), [], []
    for i in range(runs):
        number = 1000 * seed + i
        before = train(SIZES, Mixer("softmax"), lines, steps, RATE, number)
        row = []
        for by in (None, "average") if quick else (None, "average", "difference"):

            def change(layer: Projected, by: str | None = by) -> Layer:
                pooled = even(layer)
                return pooled if by is None else taking_over("key-driven", by=by, window=steps // 5 // WINDOWS)(pooled)

            model = converted(before, change)
            train_on(model, lines, steps // 5, FURTHER, 10_000 + number)
            row.append(loss(model, measure))
            if by:
                allotted.append([by, *([round(s, 2) for s in b.mix.inner.shares.tolist()] for b in model.blocks)])
        losses.append(row)
    return Result(
        Comparison("nats a character on held-out modules", [row[:2] for row in losses], BAR, drop),
        details={"steps": [steps, steps // 5], "losses: even, by average, by difference": losses, "norms": allotted},
    )
