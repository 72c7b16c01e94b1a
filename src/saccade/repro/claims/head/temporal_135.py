"""[135] Temporal heads: facts of a year need them, facts without a year do not."""

from __future__ import annotations

from typing import Any

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, find, labelled
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.tasks import Example, Task, world

from .shared import BATCH, mean_over, right, written

ABLATED, DRAWS = 0.1, 6
BAR, GENERAL, CONTROL = 0.1, -0.1, 0.1


def questions(task: Task, count: int) -> list[Example]:
    """Distinct questions of a task, for facts from the weights are few and each is a unit once."""
    found: dict[tuple[str, ...], Example] = {}
    for example in task:
        found.setdefault(example.contents, example)
        if len(found) == count:
            break
    return list(found.values())


def more(units: Units) -> tuple[float, float, float]:
    """Loss of accuracy on undated facts, on dated ones, and how much more the latter is.

    Columns: dated before, dated after, undated before, undated after.
    """
    before, after, undated_before, undated_after = units.mean(0)
    return (
        float(undated_before - undated_after),
        float(before - after),
        float(before - after - undated_before + undated_after),
    )


def beyond(units: Units) -> tuple[float, float, float]:
    """The same of random heads (columns 4 to 7), of the temporal heads (0 to 3), and the difference."""
    ours, theirs = more(units[:, :4])[2], more(units[:, 4:])[2]
    return theirs, ours, ours - theirs


@claim(
    135,
    "ablating the tenth of the heads that dated facts need most costs 10 points more on dated facts than on undated "
    "ones, which stay within 10 points; as many random heads of the same layers make no such difference",
    uses=("saccade.heads.knockout", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a dated fact with an undated one, both recalled from the weights.

    The facts are cut in two halves; heads are found on one and measured on the other, then the other way round.
    """
    count, draws = (40, 2) if quick else (120, DRAWS)
    dated = questions(world.Years(seed=seed), count)
    undated = questions(world.Memory(seed=seed), count)
    folds = []
    details: dict[str, Any] = {"heads": [], "random, by draw": []}
    with sc.attach(*zoo.load("reader")) as lm:
        for chosen, measured in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
            choose, measure = (
                {
                    name: labelled(lm, facts[part], batch=BATCH)
                    for name, facts in (("dated", dated), ("undated", undated))
                }
                for part in (chosen, measured)
            )
            found = find(lm, "temporal", choose, progress=False)
            heads = found.top(ABLATED)
            plain = {name: right(lm, facts) for name, facts in measure.items()}
            without = {name: right(lm, facts, heads) for name, facts in measure.items()}
            random = [HeadSet.random(lm, heads, number, by_layer=True) for number in range(draws)]
            each = [{name: right(lm, facts, some) for name, facts in measure.items()} for some in random]
            spared = {name: mean_over([one[name] for one in each]) for name in measure}
            columns = [side[name] for after in (without, spared) for name in measure for side in (plain, after)]
            folds.append(np.stack(columns, 1))
            details["heads"].append(written(heads))
            details["random, by draw"].append(
                [{name: round(float(one[name].mean()), 3) for name in measure} for one in each]
            )
    units = np.concatenate(folds)
    return Result(
        Comparison(
            "accuracy lost on dated facts against undated ones: temporal heads ablated", units[:, :4], BAR, more
        ),
        (
            Comparison("accuracy on undated facts: temporal heads ablated", units[:, 2:4], GENERAL),
            Comparison("the same excess, against random heads of the same layers", units, CONTROL, beyond),
        ),
        details,
    )
