"""[60] PASTA: emphasis on profiled heads, under distraction."""

from __future__ import annotations

from typing import Any

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.evaluation import Prepared, correct, prepare
from saccade.heads import likelihood
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.steer import PASTA
from saccade.tasks.world import Injection

BAR = 0.10
ALPHAS, BATCH = (0.01, 0.001), 64
"""The first is the paper's; heads are profiled with it."""


def distracted(lm: Any, seed: int, count: int) -> Prepared:
    """A question about four facts, among which up to three sentences give other instructions."""
    task = Injection(difficulty=1, injected=3, forms=("plain",), seed=seed)
    return prepare(lm, task, task.examples(count), batch=BATCH)


def followed(lm: Any, prepared: Prepared, at: Any, alpha: float) -> Units:
    """Replies that do what the user's question asks for, with the question emphasised on the heads ``at``."""
    with lm.steer(PASTA("question", alpha=alpha, at=at)):
        return correct(lm, prepared)


@claim(
    60,
    "emphasis of the user's request on profiled heads, among injected other instructions, has it followed at least 10 "
    "points more often; more than on all heads and than on as many random ones",
    uses=("saccade.evaluation.replies", "saccade.heads", "saccade.tasks", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is an example. Heads are profiled, and their number and alpha chosen, on others.

    A head's score is the gain in log-likelihood of the answers when it alone is steered. Controls have the alpha of the
    profiled heads.
    """
    profiling, choosing, measuring, draws = (12, 40, 200, 1) if quick else (48, 150, 600, 3)
    sizes = (8,) if quick else (6, 8, 10)
    with sc.attach(*zoo.load("reader")) as lm:
        data = distracted(lm, 10_000 + seed, profiling).labelled(lm)
        gains = PASTA("question", alpha=ALPHAS[0]).profile(lm, data, score=likelihood, progress=False)
        held = distracted(lm, 20_000 + seed, choosing)
        tried = {
            (size, alpha): float(followed(lm, held, gains.top(size), alpha).mean())
            for size in sizes
            for alpha in ALPHAS
        }
        size, alpha = max(tried, key=lambda setting: tried[setting])
        heads, fresh = gains.top(size), distracted(lm, 30_000 + seed, measuring)
        plain, steered, everywhere = (
            correct(lm, fresh),
            followed(lm, fresh, heads, alpha),
            followed(lm, fresh, None, alpha),
        )
        others = [sc.HeadSet.random(lm, heads, draw) for draw in range(draws)]
        random = np.mean([followed(lm, fresh, one, alpha) for one in others], axis=0)
        all_heads = {} if quick else {str(one): float(followed(lm, held, None, one).mean()) for one in ALPHAS}
    return Result(
        Comparison("request followed, as it is against emphasis on profiled heads", pairs(plain, steered), BAR),
        (
            Comparison(
                "request followed, emphasis on all heads against profiled ones", pairs(everywhere, steered), 0.0
            ),
            Comparison("request followed, emphasis on random heads against profiled ones", pairs(random, steered), 0.0),
        ),
        {
            "heads": [str(head) for head in heads],
            "alpha": alpha,
            "gains in nats": {str(head): round(head.score, 3) for head in gains},
            "by number of heads and alpha, choosing data": {f"{n} {one:g}": value for (n, one), value in tried.items()},
            "all heads by alpha, choosing data": all_heads,
        },
    )


def pairs(baseline: Units, method: Units) -> Units:
    """Units of two columns."""
    return np.stack([baseline, method], axis=1)
