"""[60] PASTA: emphasis on profiled heads, under distraction."""

from __future__ import annotations

import random
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
from saccade.tasks import Script
from saccade.tasks.world import Dialogue
from saccade.tasks.world.facts import Fact, draw_facts

ALPHAS, PROFILED, TURNS, MORE, BATCH = (0.1, 0.03, 0.01), 0.01, 64, 10, 20
"""Heads are profiled with the paper's alpha."""
BAR, BEYOND = 0.10, 0.0
BAR_QUICK, BEYOND_QUICK = 0.0, -0.3


class Crowded(Dialogue):
    """A dialogue in which ten more facts are told beside the two of which one is asked for."""

    @staticmethod
    def tell(script: Script, pair: tuple[Fact, Fact], rng: random.Random, last: bool) -> Fact:
        """State the facts in any order and give the one to ask for."""
        told = list({fact.question: fact for fact in (*draw_facts(rng, MORE), *pair)}.values())
        rng.shuffle(told)
        fact = rng.choice(pair)
        for one in told:
            marked = one is fact and last
            script.write(
                "user", one.sentence, *(("gold",) if marked else ()), inside={"value": one.value} if marked else None
            )
        return fact


def distracted(lm: Any, seed: int, count: int) -> Prepared:
    """An instruction, 64 turns of small talk, a dozen facts, then a question."""
    task = Crowded(turns=TURNS, seed=seed)
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
    too, from the same ones; random ones have that of the profiled heads.

    Profiled heads matter where there is something else to read. With two facts told instead of twelve emphasis helps
    as much, but profiled heads are hardly better than all (seed 0, two alphas: 0.02, -0.03 to 0.065; seeds 1 and 2:
    0.0275, -0.0025 to 0.0575). Where the distraction is three injected instructions instead, and the user's question is
    emphasised, it is followed 26 points more often too, but as often with all heads (0.988) as with profiled ones
    (0.980). The number of facts was settled on with other dialogues, and what is published measured with seeds 3 and 4.
    """
    profiling, choosing, measuring, draws = (5, 0, 30, 1) if quick else (48, 80, 200, 2)
    settings = [(12, 0.03)] if quick else [(size, one) for size in (6, 8, 12) for one in ALPHAS]
    with sc.attach(*zoo.load("reader")) as lm:
        data = distracted(lm, 10_000 + seed, profiling).labelled(lm)
        gains = PASTA("rule", alpha=PROFILED).profile(lm, data, score=likelihood, progress=False)
        tried, everywhere = {settings[0]: 0.0}, {settings[0][1]: 0.0}
        if choosing:
            held = distracted(lm, 20_000 + seed, choosing)
            tried = {(n, one): float(followed(lm, held, gains.top(n), one).mean()) for n, one in settings}
            everywhere = {one: float(followed(lm, held, None, one).mean()) for one in ALPHAS}
        size, alpha = max(tried, key=lambda setting: tried[setting])
        widest = max(everywhere, key=lambda one: everywhere[one])
        heads, fresh = gains.top(size), distracted(lm, 30_000 + seed, measuring)
        plain, steered = graded(fresh, replies(lm, fresh)), followed(lm, fresh, heads, alpha)
        all_heads = followed(lm, fresh, None, widest)
        others = [sc.HeadSet.random(lm, heads, draw) for draw in range(draws)]
        random = np.mean([followed(lm, fresh, one, alpha) for one in others], axis=0)
    bar, beyond = (BAR_QUICK, BEYOND_QUICK) if quick else (BAR, BEYOND)
    return Result(
        Comparison("instruction followed: as it is against emphasis on profiled heads", pairs(plain, steered), bar),
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
