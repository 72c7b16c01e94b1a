"""[158] Shapley head pruning: heads that interfere are found and removed."""

from __future__ import annotations

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, Shapley
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.tasks import world

from .shared import examples, mean_over, pairs, right, written

SHOTS, BATCHES, HALF = 8, 4, 0.5
GAIN, MORE = 0.1, 0.1


@claim(
    158,
    "removing the heads of negative Shapley value raises accuracy under false demonstrations, which interfere with "
    "what the weights know, by 10 points; removing as many random heads does not",
    uses=("saccade.heads.shapley", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a word to classify after eight false demonstrations; the true label counts.

    In the paper languages interfere with one another in one model; here two sources do, demonstrations and weights.
    Values are estimated on other prompts. Random heads count as the mean over draws. The details tell what the removal
    does to true demonstrations and to facts from the weights, on which the heads were not chosen. Documents with an
    injected order, the other candidate, leave nothing to win: the model is right on 96 % of them.
    Orders end half way down, so that values speak of models that still work: in a model of 40 heads effects in ruins
    hide those that interfere (with a floor of 10 % and eight orders nothing was gained).
    """
    orders, choosing, measuring, draws = (16, 12, 120, 1) if quick else (48, 24, 400, 4)
    with sc.attach(*zoo.load("reader")) as lm:

        def prompts(shift: int, count: int, labels: str = "false") -> list[tuple[object, list[str]]]:
            return examples(lm, world.FewShot(shots=SHOTS, labels=labels, seed=shift + seed), count)

        held = [batch for part in range(BATCHES) for batch in prompts(10_000 + 1000 * part, choosing)]
        values = Shapley(orders=orders, truncation=HALF, seed=seed)(lm, held, progress=False)
        harmful = values.negated().above(0.0)
        fresh = prompts(20_000, measuring)
        plain, without = right(lm, fresh), right(lm, fresh, harmful)
        random = [right(lm, fresh, HeadSet.random(values, harmful, number, disjoint=False)) for number in range(draws)]
        beside = {
            "true demonstrations": prompts(30_000, measuring // 4, "true"),
            "facts from the weights": examples(lm, world.Memory(seed=30_000 + seed), measuring // 4),
        }
        aside = {
            name: [round(float(right(lm, data, heads).mean()), 3) for heads in ((), harmful)]
            for name, data in beside.items()
        }
    return Result(
        Comparison(
            "accuracy after false demonstrations: whole model against harmful heads removed",
            pairs(plain, without),
            GAIN,
        ),
        (
            Comparison(
                "accuracy after false demonstrations: as many random heads removed",
                pairs(mean_over(random), without),
                MORE,
            ),
        ),
        {
            "values": written(values),
            "removed": len(harmful),
            "accuracy by random draw": [round(float(one.mean()), 3) for one in random],
            "before and after, elsewhere": aside,
        },
    )
