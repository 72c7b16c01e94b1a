"""[118] Positional heads: slow rotary planes carry the far tokens, and long inputs need these heads."""

from __future__ import annotations

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet
from saccade.heads.rotary import Positional
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.tasks import world

from .shared import examples, mean_over, pairs, right, written

ABLATED, DRAWS = 0.15, 2
BAR, MORE, KEPT = 0.1, 0.05, -0.05


@claim(
    118,
    "ablating the 15 % of heads whose slow rotary planes tell the logits of far tokens best costs 10 points of answers "
    "from documents of 32 facts, 5 more than as many random heads of the same layers; facts from the weights stay",
    uses=("saccade.heads.rotary", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a document of 32 facts, about 280 tokens, with a question.

    Heads are found on other documents; a unit's accuracy with random heads is the mean over draws. The share of heads
    is that of claim 188: without a tenth of them nothing was lost, for others do the same.
    """
    choosing, measuring, draws = (3, 30, 1) if quick else (12, 80, DRAWS)
    with sc.attach(*zoo.load("reader")) as lm:
        found = Positional()(lm, examples(lm, world.Context(difficulty=4, seed=10_000 + seed), choosing, "value"))
        heads = found.top(ABLATED)
        fresh = examples(lm, world.Context(difficulty=4, seed=20_000 + seed), measuring, "value")
        memory = examples(lm, world.Memory(seed=20_000 + seed), measuring)
        plain, without = right(lm, fresh), right(lm, fresh, heads)
        random = [right(lm, fresh, HeadSet.random(found, heads, number, by_layer=True)) for number in range(draws)]
        recalled = pairs(right(lm, memory), right(lm, memory, heads))
    return Result(
        Comparison(
            "answers from long documents: whole model against positional heads ablated",
            pairs(plain, without),
            BAR,
            drop,
        ),
        (
            Comparison(
                "the same: random heads of the same layers against positional heads",
                pairs(mean_over(random), without),
                MORE,
                drop,
            ),
            Comparison("facts from the weights: positional heads ablated", recalled, KEPT),
        ),
        {
            "heads": written(found),
            "ablated": [str(head) for head in heads],
            "accuracy by random draw": [round(float(one.mean()), 3) for one in random],
        },
    )
