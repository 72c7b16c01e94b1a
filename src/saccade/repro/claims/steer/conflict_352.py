"""[352] JUICE: to the context or to the weights, in two runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.evaluation import Prepared, correct, graded, prepare
from saccade.heads import HeadSet
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.steer import JUICE
from saccade.tasks import Task
from saccade.tasks.world import Conflict, Context, Memory

BAR, BETTER = 0.10, 0.005
HEADS, BATCH = 5, 50
"""The paper takes the best 5 or 10 heads of each kind."""
MORE, LESS = (0.0, 1.0, 3.0), (0.0, 1.0, 2.0)


def conflict(lm: Any, wanted: str, seed: int, count: int) -> Prepared:
    """Documents that contradict the weights, and a question that names no source."""
    return ready(lm, Conflict(difficulty=1, wanted=wanted, seed=seed), count)


def ready(lm: Any, task: Task, count: int) -> Prepared:
    """Examples of a task as prompts."""
    return prepare(lm, task, task.examples(count), batch=BATCH)


def first_tokens(lm: Any, prepared: Prepared) -> list[tuple[Any, list[int]]]:
    """Batches with the first token of each answer."""
    return [(prompt, [answer[0] for answer in answers]) for prompt, answers in prepared.labelled(lm)]


def once(lm: Any, prepared: Prepared, juice: JUICE) -> Units:
    """Right replies when the heads are scaled in a single run."""
    with lm.steer(*juice.once()):
        return correct(lm, prepared)


def twice(lm: Any, prepared: Prepared, juice: JUICE) -> Units:
    """Right replies in two runs."""
    written = [""] * len(prepared)
    for numbers, prompt in prepared.batches:
        texts = juice.generate(lm, prompt, max_new_tokens=prepared.longest)
        for number, text in zip(numbers, [texts] if isinstance(texts, str) else texts, strict=True):
            written[number] = text
    return graded(prepared, written)


def steered(lm: Any, wanted: str, seed: int, sizes: Sequence[int], factors: Any) -> tuple[list[Units], dict[str, Any]]:
    """Right replies as it is, in one run and in two, towards one source; and how it was done."""
    finding, choosing, measuring = sizes
    clean = Memory(seed=10_000 + seed) if wanted == "memory" else Context(difficulty=1, seed=10_000 + seed)
    situations = {
        "conflict": first_tokens(lm, conflict(lm, wanted, 10_000 + seed, finding)),
        "clean": first_tokens(lm, ready(lm, clean, finding)),
    }
    up, down = JUICE.find(lm, situations, raised=factors[0], lowered=factors[1], progress=False)
    up, down = (HeadSet(list(heads)[:HEADS], heads.kind, heads.model) for heads in (up, down))
    grid = [JUICE(up, down, more, less) for more in MORE for less in LESS if (more and len(up)) or (less and len(down))]
    held, fresh = conflict(lm, wanted, 20_000 + seed, choosing), conflict(lm, wanted, 30_000 + seed, measuring)
    one, two = (max(grid, key=lambda juice, way=way: float(way(lm, held, juice).mean())) for way in (once, twice))
    details = {
        "enlarged": [str(head) for head in up],
        "suppressed": [str(head) for head in down],
        "factors of one run": [one.more, one.less],
        "factors of two": [two.more, two.less],
    }
    return [correct(lm, fresh), once(lm, fresh, one), twice(lm, fresh, two)], details


@claim(
    352,
    "JUICE takes the model to the document's answer or to that of its weights, whichever is wanted, at least 10 points "
    "more often than it goes by itself, and more often than the same heads in a single run",
    uses=("saccade.evaluation", "saccade.heads", "saccade.tasks", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a pair of examples, one for each source. Heads and factors come from others.

    The single run has factors of its own, chosen from the same grid on the same examples.
    """
    sizes = (4, 16, 60) if quick else (8, 40, 240)
    factors = ((3.0,), (1.0,)) if quick else ((1.0, 3.0), (1.0, 2.0))
    with sc.attach(*zoo.load("reader")) as lm:
        both = {wanted: steered(lm, wanted, seed, sizes, factors) for wanted in ("context", "memory")}
    plain, single, double = (np.mean([found[0][way] for found in both.values()], axis=0) for way in range(3))
    return Result(
        Comparison(
            "wanted source followed, both directions: as it is against JUICE", np.stack([plain, double], 1), BAR
        ),
        (Comparison("wanted source followed: a single run against JUICE", np.stack([single, double], 1), BETTER),),
        {
            wanted: {**details, "accuracy as it is, one run, two runs": [float(units.mean()) for units in found]}
            for wanted, (found, details) in both.items()
        },
    )
