"""[60] PASTA: emphasis on profiled heads, under distraction."""

from __future__ import annotations

from typing import Any

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.evaluation import Prepared, graded, prepare, replies
from saccade.heads import likelihood
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.steer import PASTA
from saccade.tasks.world import Dialogue

ALPHAS, TURNS, BATCH = (0.01, 0.001), 64, 20
"""The first alpha is the paper's; heads are profiled with it."""
BAR, BEYOND, BEYOND_QUICK = 0.10, 0.0, -0.15


def distracted(lm: Any, seed: int, count: int) -> Prepared:
    """An instruction, 64 turns of small talk, then a question."""
    task = Dialogue(turns=TURNS, seed=seed)
    return prepare(lm, task, task.examples(count), batch=BATCH)


def followed(lm: Any, prepared: Prepared, at: Any, alpha: float) -> Units:
    """Replies that follow the instruction, with it emphasised on the heads ``at``."""
    with lm.steer(PASTA("rule", alpha=alpha, at=at)):
        return graded(prepared, replies(lm, prepared))


@claim(
    60,
    "emphasis of the instruction on profiled heads has it followed at least 10 points more often after long small "
    "talk; more than on all heads and than on as many random ones",
    uses=("saccade.evaluation", "saccade.heads", "saccade.tasks", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a dialogue. Heads are profiled, and their number and alpha chosen, on others.

    A head's score is the gain in log-likelihood of the answers when it alone is steered. For all heads alpha is chosen
    too; random ones have that of the profiled heads. Where the distraction is three injected instructions instead, and
    the user's question is emphasised, it is followed 26 points more often too, but as often with all heads (0.988, with
    an alpha of their own) as with profiled ones (0.980).
    """
    profiling, choosing, measuring, draws = (8, 20, 60, 1) if quick else (32, 60, 200, 2)
    sizes, alphas = ((8,), ALPHAS[1:]) if quick else ((6, 8, 10), ALPHAS)
    with sc.attach(*zoo.load("reader")) as lm:
        data = distracted(lm, 10_000 + seed, profiling).labelled(lm)
        gains = PASTA("rule", alpha=ALPHAS[0]).profile(lm, data, score=likelihood, progress=False)
        held = distracted(lm, 20_000 + seed, choosing)
        tried = {
            (size, one): float(followed(lm, held, gains.top(size), one).mean()) for size in sizes for one in alphas
        }
        size, alpha = max(tried, key=lambda setting: tried[setting])
        everywhere = {one: float(followed(lm, held, None, one).mean()) for one in ALPHAS}
        widest = max(everywhere, key=lambda one: everywhere[one])
        heads, fresh = gains.top(size), distracted(lm, 30_000 + seed, measuring)
        plain, steered = graded(fresh, replies(lm, fresh)), followed(lm, fresh, heads, alpha)
        all_heads = followed(lm, fresh, None, widest)
        others = [sc.HeadSet.random(lm, heads, draw) for draw in range(draws)]
        random = np.mean([followed(lm, fresh, one, alpha) for one in others], axis=0)
    beyond = BEYOND_QUICK if quick else BEYOND
    return Result(
        Comparison("instruction followed: as it is against emphasis on profiled heads", pairs(plain, steered), BAR),
        (
            Comparison("instruction followed: all heads against profiled ones", pairs(all_heads, steered), beyond),
            Comparison("instruction followed: random heads against profiled ones", pairs(random, steered), beyond),
        ),
        {
            "heads": [str(head) for head in heads],
            "alpha": alpha,
            "gains in nats": {str(head): round(head.score, 3) for head in gains},
            "by number of heads and alpha, choosing data": {f"{n} {one:g}": value for (n, one), value in tried.items()},
            "all heads by alpha, choosing data": {f"{one:g}": value for one, value in everywhere.items()},
        },
    )


def pairs(baseline: Units, method: Units) -> Units:
    """Units of two columns."""
    return np.stack([baseline, method], axis=1)
