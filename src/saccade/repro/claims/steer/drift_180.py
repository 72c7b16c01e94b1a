"""[180] Split-softmax: instructions that hold longer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.evaluation import Prepared, graded, prepare, replies
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.steer import SplitSoftmax
from saccade.tasks import Example, Message
from saccade.tasks.world import Dialogue, lexicon

EARLY, LATE = 16, 64
BAR, SLOWER, QUALITY = 0.10, 0.05, -0.05
BAR_QUICK, SLOWER_QUICK, QUALITY_QUICK = -0.2, -0.3, -0.3
BATCH = 20


def dialogues(lm: Any, turns: int, seed: int, count: int, repeated: bool = False) -> Prepared:
    """An instruction, then turns of small talk, then a question; ``repeated``: the instruction comes again with it."""
    task = Dialogue(turns=turns, seed=seed)
    examples = task.examples(count)
    return prepare(lm, task, [again(one) for one in examples] if repeated else examples, batch=BATCH)


def again(example: Example) -> Example:
    """The same dialogue with the instruction repeated at its end."""
    assert isinstance(example.prompt, tuple)
    *before, last = example.prompt
    return replace(example, prompt=(*before, Message(last.role, f"{last.content} {example.texts('rule')[0]}")))


def stated(prepared: Prepared, made: list[str]) -> Units:
    """1 where the reply names the right value, in whatever form."""
    velan = lexicon().velan
    found = []
    for example, reply in zip(prepared.examples, made, strict=True):
        value = example.meta["value"]
        found.append(float(not {value, value.upper(), velan.get(value, value)}.isdisjoint(reply.split())))
    return np.array(found)


def slowed(units: Units) -> tuple[float, float, float]:
    """Accuracy lost between early and late, without and with the method, and how much less it is."""
    early, late, early_held, late_held = units.mean(0).tolist()
    return early - late, early_held - late_held, (early - late) - (early_held - late_held)


@claim(
    180,
    "after 64 turns of small talk the instruction is followed more often with split-softmax, at least 10 points; less "
    "is lost since turn 16; and the answers are as often right in content as when the instruction is repeated",
    uses=("saccade.evaluation", "saccade.tasks", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a dialogue. The exponent is chosen on other dialogues."""
    choosing, measuring = (2, 40) if quick else (20, 240)
    exponents = (0.3,) if quick else (0.5, 0.3, 0.15)
    bar, slower, quality = (BAR_QUICK, SLOWER_QUICK, QUALITY_QUICK) if quick else (BAR, SLOWER, QUALITY)
    with sc.attach(*zoo.load("reader")) as lm:
        held = dialogues(lm, LATE, 10_000 + seed, choosing)
        tried = {k: float(graded(held, steered(lm, held, k)).mean()) for k in exponents}
        best = max(tried, key=lambda k: tried[k])
        late, early = (dialogues(lm, turns, 20_000 + seed, measuring) for turns in (LATE, EARLY))
        reminded = dialogues(lm, LATE, 20_000 + seed, measuring, repeated=True)
        plain, method, baseline = replies(lm, late), steered(lm, late, best), replies(lm, reminded)
        course = [graded(early, replies(lm, early)), graded(late, plain)]
        course += [graded(early, steered(lm, early, best)), graded(late, method)]
    return Result(
        Comparison(f"instruction followed after {LATE} turns", np.stack([course[1], course[3]], 1), bar),
        (
            Comparison(f"accuracy lost from turn {EARLY} to {LATE}", np.stack(course, 1), slower, slowed),
            Comparison(
                "right content: the instruction repeated against split-softmax",
                np.stack([stated(reminded, baseline), stated(late, method)], 1),
                quality,
            ),
        ),
        {
            "exponent": best,
            "accuracy by exponent, choosing data": tried,
            "instruction followed when repeated": float(graded(reminded, baseline).mean()),
            "right content without either": float(stated(late, plain).mean()),
        },
    )


def steered(lm: Any, prepared: Prepared, exponent: float) -> list[str]:
    """Replies with the attention on the instruction held up, in every head."""
    with lm.steer(SplitSoftmax(exponent, "rule")):
        return replies(lm, prepared)
