"""[40] Are sixteen heads better than one: pruning by the gradient of a gate."""

from __future__ import annotations

from typing import Any

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, find
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.tasks import Task, world

from .shared import examples, mean_over, pairs, right, written

PRUNED, DRAWS = 0.4, 5
KEPT, SAFER = -0.02, 0.05
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


def tasks(seed: int) -> tuple[Task, ...]:
    """What the model is used for here: reading, two kinds of facts from its weights, sums, and classification."""
    return (
        world.Context(difficulty=1, seed=seed),
        world.Memory(seed=seed),
        world.Years(seed=seed),
        world.Arithmetic(difficulty=2, seed=seed),
        world.FewShot(shots=6, seed=seed),
    )


def last(ranked: HeadSet, share: float) -> HeadSet:
    """The least important heads."""
    return HeadSet([head.place for head in ranked.heads[len(ranked) - int(share * len(ranked)) :]])


@claim(
    40,
    "without the 40 % of heads that the gradient calls least important, accuracy stays within 2 points, and is 5 "
    "points above that without as many random heads",
    uses=("saccade.heads.sensitivity", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`, over five tasks alike; a unit is an example.

    Heads are ranked on other examples, where it is also decided whether scores are divided by the norm of their layer.
    Random heads count as the mean over draws.
    """
    choosing, measuring, draws = (25, 120, 1) if quick else (50, 300, DRAWS)
    details: dict[str, Any] = {}
    with sc.attach(*zoo.load("reader")) as lm:
        held = [batch for task in tasks(10_000 + seed) for batch in examples(lm, task, choosing)]
        fresh = [batch for task in tasks(20_000 + seed) for batch in examples(lm, task, measuring)]
        ranked = {
            normalise: find(lm, "sensitivity", held, normalise=normalise, progress=False) for normalise in (True, False)
        }
        kept = {normalise: float(right(lm, held, last(found, PRUNED)).mean()) for normalise, found in ranked.items()}
        normalise = max(kept, key=lambda choice: kept[choice])
        found = ranked[normalise]
        plain, pruned = right(lm, fresh), right(lm, fresh, last(found, PRUNED))
        random = [
            right(lm, fresh, HeadSet.random(found, last(found, PRUNED), number, disjoint=False))
            for number in range(draws)
        ]
        if not quick:
            details["accuracy on choosing data by share pruned"] = {
                f"{share:.0%}": round(float(right(lm, held, last(found, share)).mean()), 3) for share in SHARES
            }
    return Result(
        Comparison("accuracy: whole model against 40 % of heads pruned by gradient", pairs(plain, pruned), KEPT),
        (
            Comparison(
                "accuracy: random heads pruned against those of the gradient", pairs(mean_over(random), pruned), SAFER
            ),
        ),
        {
            "divided by the norm of the layer": normalise,
            "choosing accuracy with and without": list(kept.values()),
            "heads": written(found),
            "accuracy by random draw": [round(float(one.mean()), 3) for one in random],
            **details,
        },
    )
