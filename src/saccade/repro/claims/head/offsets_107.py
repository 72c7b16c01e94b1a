"""[107] LoFiT: offsets on a few chosen heads adapt a model."""

from __future__ import annotations

from typing import Any

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, labelled
from saccade.heads.lofit import LoFiT
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.tasks import world

from .shared import mean_over, pairs, right, written

SHARE, SHOTS, ROWS, DRAWS = 0.1, 4, 16, 2
GAIN, MORE, WITHIN = 0.1, 0.05, -0.1


@claim(
    107,
    "offsets of the tenth of the heads that a learned scaling picks raise accuracy under false demonstrations by 10 "
    "points, 5 more than offsets of as many random heads, and come within 10 points of offsets of all heads",
    uses=("saccade.heads.lofit", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a word to classify after four false demonstrations; the true label counts.

    Four heads, 128 numbers, are chosen and trained on other prompts; all arms have the same steps and learning rate.
    Random heads are drawn from all that were not chosen, and a unit's accuracy with them is the mean over draws.
    """
    batches, steps, measuring, draws = (2, 18, 150, 1) if quick else (8, 40, 400, DRAWS)
    with sc.attach(*zoo.load("reader")) as lm:

        def prompts(shift: int, count: int) -> list[tuple[Any, list[str]]]:
            task = world.FewShot(shots=SHOTS, labels="false", seed=shift + seed)
            return labelled(lm, task.examples(count), batch=ROWS)

        held, fresh = prompts(10_000, ROWS * batches), prompts(20_000, measuring)
        method = LoFiT(steps=steps, rate=3e-2, penalty=1e-2, seed=seed)
        found = method.choose(lm, held)
        heads = found.top(SHARE)

        def tuned(some: HeadSet) -> Units:
            with lm.steer(method.tune(lm, held, some)):
                return right(lm, fresh)

        plain, ours, every = right(lm, fresh), tuned(heads), tuned(found)
        random = [tuned(HeadSet.random(found, heads, number)) for number in range(draws)]
    return Result(
        Comparison(
            "true labels after false demonstrations: no offsets, offsets of the chosen heads", pairs(plain, ours), GAIN
        ),
        (
            Comparison("the same: random heads, chosen heads", pairs(mean_over(random), ours), MORE),
            Comparison("the same: all heads, chosen heads", pairs(every, ours), WITHIN),
        ),
        {
            "heads": written(found),
            "chosen": [str(head) for head in heads],
            "accuracy by random draw": [round(float(one.mean()), 3) for one in random],
        },
    )
