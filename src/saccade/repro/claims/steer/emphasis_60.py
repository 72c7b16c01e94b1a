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
from saccade.tasks.world.forms import KINDS

BAR = 0.10
ALPHA = 0.01
"""The paper's."""
FEWER, BATCH = (0.05, 0.02), 64
"""Milder factors, tried on all heads together for the details."""


def distracted(lm: Any, seed: int, count: int) -> Prepared:
    """Four facts with an instruction on the form of the answer, and up to three sentences that demand other forms."""
    task = Injection(difficulty=1, injected=3, forms=KINDS, seed=seed)
    return prepare(lm, task, task.examples(count), batch=BATCH)


def followed(lm: Any, prepared: Prepared, at: Any, alpha: float = ALPHA) -> Units:
    """Replies that are right in content and form, with the instruction emphasised on the heads ``at``."""
    with lm.steer(PASTA("rule", alpha=alpha, at=at)):
        return correct(lm, prepared)


@claim(
    60,
    "emphasis of the instruction on profiled heads, among injected other instructions, gives the right content in the "
    "right form at least 10 points more often; more than on all heads and than on as many random ones",
    uses=("saccade.evaluation", "saccade.heads", "saccade.tasks", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is an example. Heads are profiled, and their number is chosen, on other examples.

    A head's score is the gain in log-likelihood of the answers when it alone is steered, with the paper's alpha. How
    many of the best heads to steer is decided by accuracy on a third set.
    """
    profiling, choosing, measuring, draws = (12, 60, 240, 1) if quick else (96, 300, 1200, 4)
    sizes = (8, 12) if quick else (4, 6, 8, 12, 16)
    with sc.attach(*zoo.load("reader")) as lm:
        data = distracted(lm, 10_000 + seed, profiling).labelled(lm)
        gains = PASTA("rule", alpha=ALPHA).profile(lm, data, score=likelihood, progress=False)
        held = distracted(lm, 20_000 + seed, choosing)
        tried = {size: float(followed(lm, held, gains.top(size)).mean()) for size in sizes}
        heads = gains.top(max(tried, key=lambda size: tried[size]))
        fresh = distracted(lm, 30_000 + seed, measuring)
        plain, steered, everywhere = correct(lm, fresh), followed(lm, fresh, heads), followed(lm, fresh, None)
        others = [sc.HeadSet.random(lm, heads, draw) for draw in range(draws)]
        random = np.mean([followed(lm, fresh, one) for one in others], axis=0)
        milder = {} if quick else {alpha: float(followed(lm, fresh, None, alpha).mean()) for alpha in FEWER}
    return Result(
        Comparison("content and form right, as it is against emphasis on profiled heads", pairs(plain, steered), BAR),
        (
            Comparison("emphasis on all heads against profiled ones", pairs(everywhere, steered), 0.0),
            Comparison("emphasis on random heads against profiled ones", pairs(random, steered), 0.0),
        ),
        {
            "heads": [str(head) for head in heads],
            "gains in nats": {str(head): round(head.score, 3) for head in gains},
            "accuracy by number of heads, choosing data": tried,
            "all heads with a milder alpha": milder,
        },
    )


def pairs(baseline: Units, method: Units) -> Units:
    """Units of two columns."""
    return np.stack([baseline, method], axis=1)
