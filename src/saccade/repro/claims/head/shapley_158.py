"""[158] Shapley head pruning: heads that interfere are found and removed."""

from __future__ import annotations

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, Shapley
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.tasks import world

from .shared import examples, mean_over, pairs, right, written

DRAWS, BATCHES = 6, 4
GAIN, MORE = 0.1, 0.1


@claim(
    158,
    "removing the heads of negative Shapley value raises accuracy on documents with an injected order by 10 points, "
    "where removing as many random heads does not",
    uses=("saccade.heads.shapley", "saccade.heads", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a document that holds the answer and an order to say something else.

    In the paper languages interfere with one another in one model; here two tasks do, reading and obeying. Values are
    estimated on other documents. Random heads count as the mean over draws. The details tell what the removal does to
    documents without an injection and to facts from the weights, on which the heads were not chosen.
    """
    orders, choosing, measuring, draws = (8, 12, 100, 2) if quick else (40, 24, 400, DRAWS)
    with sc.attach(*zoo.load("reader")) as lm:

        def documents(shift: int, count: int, injected: int = 1) -> list[tuple[object, list[str]]]:
            task = world.Injection(forms=("plain",), difficulty=1, injected=injected, seed=shift + seed)
            return examples(lm, task, count)

        held = [batch for part in range(BATCHES) for batch in documents(10_000 + 1000 * part, choosing)]
        values = Shapley(orders=orders, seed=seed)(lm, held, progress=False)
        harmful = values.negated().above(0.0)
        fresh = documents(20_000, measuring)
        plain, without = right(lm, fresh), right(lm, fresh, harmful)
        random = [right(lm, fresh, HeadSet.random(values, harmful, number, disjoint=False)) for number in range(draws)]
        beside = {
            "documents without an injection": documents(30_000, measuring // 4, injected=0),
            "facts from the weights": examples(lm, world.Memory(seed=30_000 + seed), measuring // 4),
        }
        aside = {
            name: [round(float(right(lm, data, heads).mean()), 3) for heads in ((), harmful)]
            for name, data in beside.items()
        }
    return Result(
        Comparison(
            "accuracy under an injection: whole model against harmful heads removed", pairs(plain, without), GAIN
        ),
        (
            Comparison(
                "accuracy under an injection: as many random heads removed", pairs(mean_over(random), without), MORE
            ),
        ),
        {
            "values": written(values),
            "removed": len(harmful),
            "accuracy by random draw": [round(float(one.mean()), 3) for one in random],
            "before and after, elsewhere": aside,
        },
    )
