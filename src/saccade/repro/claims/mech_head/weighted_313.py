"""[313] Weighted grouped-query attention against means."""

from __future__ import annotations

from saccade.repro.claims.mech_head.shared import (
    KEPT,
    SIZES,
    USES,
    converted,
    fresh,
    lines,
    pooled,
    taking_over,
    train_on,
)
from saccade.repro.host import Mixer, loss, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop

RATE, FURTHER, BAR = 6e-3, 2e-3, 0.0
FORMS = {
    "mean": pooled,
    **{per: taking_over("weighted-groups", groups=KEPT, per=per) for per in ("head", "channel", "input")},
}


@claim(
    313,
    "key-value heads merged by learned weights lose less, after the same further training, than averaged ones",
    uses=(*USES, "saccade.mechanisms.heads.grouped_query", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules; a unit is one multi-head model, whose eight key-value heads are merged to two.

    The claim is about a weight a head; weights a channel and an input are in the details.
    """
    runs, steps, further = (3, 120, 40) if quick else (6, 250, 25)
    measure, losses = fresh(seed, 256 if quick else 512), []
    for i in range(runs):
        number = 1000 * seed + i
        before = train(SIZES, Mixer("softmax"), lines, steps, RATE, number)
        models = [converted(before, form) for form in list(FORMS.values())[: 2 if quick else None]]
        for model in models:
            train_on(model, lines, further, FURTHER, 10_000 + number)
        losses.append([loss(model, measure) for model in models])
    return Result(
        Comparison("nats a character on held-out modules", [row[:2] for row in losses], BAR, drop),
        details={"steps": [steps, further], "losses": dict(zip(FORMS, zip(*losses, strict=True), strict=False))},
    )
