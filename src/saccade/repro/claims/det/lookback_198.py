"""[198] Lookback Lens: what an answer looks back at tells whether it is invented, and guides decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import saccade as sc
from saccade import zoo
from saccade.decode import Guided
from saccade.detect import LookbackLens
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.tasks import Example, Task, world

from .auroc import above_chance

FORMS = ("begin", "subject first")
"""Instructions that put a word before the answer, so that it is written with something written to look at."""
FACTS, TEMPERATURE, CANDIDATES, BATCH, LONGEST = 24, 1.5, 8, 24, 6
BAR, TRANSFER, GUIDED = 0.1, 0.05, 0.02

Sample = tuple[Any, str]


def absent(seed: int) -> Task:
    """Half of the questions have no answer in the document; the honest reply says so."""
    return world.Absent(facts=FACTS, forms=FORMS, seed=seed)


def several(seed: int) -> Task:
    """Several documents, of which one answers."""
    return world.Documents(facts=FACTS, forms=FORMS, seed=seed)


@claim(
    198,
    "a linear classifier of lookback ratios tells faithful from invented answers, also on a task that it was not "
    "trained on, and choosing among sampled answers by it makes more of them faithful",
    uses=("saccade.detect", "saccade.decode", "saccade.tasks.world", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a question. Train, test and guided questions are all different."""
    train, test, guided = (90, 60, 12) if quick else (300, 160, 90)
    torch.manual_seed(seed)
    with torch.random.fork_rng(devices=[]), sc.attach(*zoo.load("reader")) as lm:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        lens = LookbackLens(lm, classifier=classifier).fit(*answered(lm, several(19_800 + seed), train))
        own, other = (
            scored(lens, *answered(lm, task, test)) for task in (several(29_800 + seed), absent(39_800 + seed))
        )
        fresh = several(49_800 + seed)
        plain, chosen = (faithful(lm, lens, fresh, guided, candidates) for candidates in (1, CANDIDATES))
    return Result(
        Comparison("AUROC of faithful answers, against chance", own, BAR, above_chance),
        (
            Comparison("AUROC on the other task, against chance", other, TRANSFER, above_chance),
            Comparison("share of faithful answers: sampled, best rated of eight", np.stack([plain, chosen], 1), GUIDED),
        ),
        {"temperature": TEMPERATURE, "faithful": [float(each[:, 0].mean()) for each in (own, other)]},
    )


def parts(examples: Sequence[Example]) -> list[Sequence[Example]]:
    """A few examples at a time."""
    return [examples[start : start + BATCH] for start in range(0, len(examples), BATCH)]


def answered(lm: Any, task: Task, count: int) -> tuple[list[Sample], list[int]]:
    """Questions with sampled answers, and which of these are faithful."""
    samples, labels = [], []
    for part in parts(task.examples(count)):
        prompts = [each.marked("document") for each in part]
        replies = lm.generate(
            lm.prompt(prompts), do_sample=True, temperature=TEMPERATURE, top_k=0, max_new_tokens=LONGEST
        )
        samples += list(zip(prompts, replies, strict=True))
        labels += [int(task.check(each, reply)) for each, reply in zip(part, replies, strict=True)]
    return samples, labels


def scored(lens: LookbackLens, samples: list[Sample], labels: list[int]) -> NDArray[np.float64]:
    """Label and rating of each sample."""
    return np.column_stack([labels, lens.predict_proba(samples)[:, 1]])


def faithful(lm: Any, lens: LookbackLens, task: Task, count: int, candidates: int) -> NDArray[np.float64]:
    """Which answers are faithful, when the best rated of so many candidates is given."""
    decoding = Guided(lens, candidates, LONGEST, TEMPERATURE, {"top_k": 0})
    found: list[float] = []
    for part in parts(task.examples(count)):
        replies = decoding.generate(lm, lm.prompt([each.marked("document") for each in part]), LONGEST)
        found += [float(task.check(each, reply)) for each, reply in zip(part, replies, strict=True)]
    return np.array(found)
