"""[188] Retrieval heads: few heads copy the needle, and without them it is not found."""

from __future__ import annotations

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, find
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop
from saccade.tasks import world

from .shared import examples, mean_over, pairs, right, written

MASKED, DRAWS = 0.15, 6
FEW = 0.25
BAR, SPARED, MOST, KNOWN = 0.5, -0.05, 0.5, -0.05


def carried(units: Units) -> tuple[float, float, float]:
    """Share of the heads, share of the total score that the best of them carry, and the latter again as the effect.

    A unit is a head, with its score on choosing data (which ranks it) and on measuring data (which counts).
    """
    ranked = units[np.argsort(-units[:, 0], kind="stable"), 1]
    share = float(ranked[: int(np.ceil(FEW * len(ranked)))].sum() / ranked.sum())
    return FEW, share, share


@claim(
    188,
    "masking the 15 % of heads with the highest retrieval score costs 50 points of retrieval, as many random heads of "
    "the same layers at most 5; the best quarter of the heads carries most of the score; answers from the weights stay",
    uses=("saccade.heads.retrieval", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a document with a question. Heads are found on other documents.

    Random heads are drawn from all heads that are not masked, as many in each layer; a unit's accuracy is the mean over
    draws. Draws that are matched in number only are told in the details.
    """
    choosing, measuring, draws = (50, 100, 3) if quick else (200, 500, DRAWS)
    with sc.attach(*zoo.load("reader")) as lm:
        found = find(lm, "retrieval", examples(lm, world.Context(difficulty=1, seed=10_000 + seed), choosing, "value"))
        fresh = examples(lm, world.Context(difficulty=1, seed=20_000 + seed), measuring, "value")
        memory = examples(lm, world.Memory(seed=20_000 + seed), measuring)
        again = find(lm, "retrieval", fresh)
        masked = found.top(MASKED)
        plain, without = right(lm, fresh), right(lm, fresh, masked)
        like = [HeadSet.random(found, masked, number, by_layer=True) for number in range(draws)]
        anywhere = [HeadSet.random(found, masked, number) for number in range(draws)]
        spared = [right(lm, fresh, heads) for heads in like]
        free = [right(lm, fresh, heads) for heads in anywhere]
        recalled = pairs(right(lm, memory), right(lm, memory, masked))
    later = {head.place: head.score for head in again}
    scores = np.array([[head.score, later[head.place]] for head in found])
    return Result(
        Comparison(
            "accuracy of retrieval: whole model against retrieval heads masked", pairs(plain, without), BAR, drop
        ),
        (
            Comparison(
                "accuracy of retrieval: random heads of the same layers masked", pairs(plain, mean_over(spared)), SPARED
            ),
            Comparison(f"share of the retrieval score on the best {FEW:.0%} of heads", scores, MOST, carried),
            Comparison("accuracy of facts from the weights: retrieval heads masked", recalled, KNOWN),
        ),
        {
            "heads": written(found),
            "masked": [str(head) for head in masked],
            "share of heads with a score of 0.1": sum(head.score >= 0.1 for head in found) / len(found),
            "accuracy by draw, same layers": [round(float(one.mean()), 3) for one in spared],
            "accuracy by draw, any layer": [round(float(one.mean()), 3) for one in free],
        },
    )
