"""[332] ZeroTuning: the initial token as a control."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.evaluation import Prepared, correct, prepare
from saccade.heads import likelihood
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.steer import ZeroTuning
from saccade.tasks.world import FewShot

BAR = 0.005
SHOTS, BATCH = 8, 64
GAMMAS = (0.125, 0.25, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0)


def shown(lm: Any, seed: int, count: int) -> Prepared:
    """Classification after eight demonstrations whose labels are swapped; the true label is asked for."""
    task = FewShot(shots=SHOTS, labels="false", seed=seed)
    return prepare(lm, task, task.examples(count), batch=BATCH)


def tuned(lm: Any, prepared: Prepared, method: ZeroTuning) -> Units:
    """Right replies with the attention on the initial token scaled."""
    with lm.steer(method):
        return correct(lm, prepared)


@claim(
    332,
    "scaling the attention on the initial token, in the heads and by the factor that tuning on other data chose, gives "
    "the right class more often",
    uses=("saccade.evaluation.replies", "saccade.heads", "saccade.tasks", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is an example. Heads and gamma come from the likelihood on other examples."""
    choosing, measuring = (32, 400) if quick else (128, 2000)
    gammas = (0.25, 1.0, 4.0, 8.0) if quick else GAMMAS
    with sc.attach(*zoo.load("reader")) as lm:
        data = shown(lm, 10_000 + seed, choosing).labelled(lm)
        found = ZeroTuning.tune(lm, data, gammas=gammas, score=likelihood, progress=False)
        fresh = shown(lm, 20_000 + seed, measuring)
        plain, method = correct(lm, fresh), tuned(lm, fresh, found.method)
        everywhere = np.zeros(1) if quick else tuned(lm, fresh, replace(found.method, at=None))
    return Result(
        Comparison("true class after false demonstrations", np.stack([plain, method], 1), BAR),
        details={
            "gamma": found.method.gamma,
            "heads": [str(head) for head in found.profile.dominant],
            "mean log-likelihood by gamma, choosing data": found.scores,
            "the same gamma in all heads": None if quick else float(everywhere.mean()),
        },
    )
