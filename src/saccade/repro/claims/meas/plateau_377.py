"""[377] In a loss plateau attention moves, outputs repeat and states collapse; biasing attention shortens it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop, saving
from saccade.see.dynamics import Course, collapse, progress, repetition

from .glass import Glass, Shape, made, training

NUMBERS, COUNT = 3, 6
"""Numbers modulo 3, six a sequence."""
SHAPE = Shape(NUMBERS + 1, NUMBERS, 2 * COUNT, dim=48, layers=1, heads=1)
STEPS, QUICK, SHORT, EVERY, BATCH, RATE = 1_200, 400, 240, 20, 32, 3e-3
LEARNT = 0.02
"""A run ends when the loss, in nats, has been below this at three evaluations."""
FACTOR = 10.0
"""Of attention on the entries that the task needs, or on as many others; its inverse works against the task."""
SHORTER, BEFORE, REPEATS, COLLAPSED = 1.5, 0.0, 0.02, 0.1


@dataclass(frozen=True, eq=False)
class History:
    """Courses of training by what they measure."""

    accuracy: Course
    loss: Course
    progress: Course
    repetition: Course
    collapse: Course

    @property
    def plateau(self) -> float:
        """The step at which the loss has fallen by half; the last one if it has not."""
        return min(half(self.loss, 0.0), self.loss.steps[-1])

    @property
    def moved(self) -> float:
        """The step at which attention progress is halfway to its end; the last one if it goes nowhere."""
        return min(half(self.progress, float(np.mean(self.progress.values[-3:]))), self.progress.steps[-1])

    def split(self, course: Course) -> tuple[float, float]:
        """A measure in the plateau (not at its very start), and at the end."""
        inside = [value for step, value in zip(course.steps, course.values, strict=True) if 0 < step <= self.plateau]
        return float(np.mean(inside or course.values[1:2])), float(np.mean(course.values[-3:]))


def half(course: Course, end: float) -> float:
    """The step at which a course is halfway to an end."""
    return course.reaches((course.values[0] + end) / 2)


def sums(count: int, draw: torch.Generator) -> Tensor:
    """Numbers, a separator, and each number plus the one before it, modulo 3: [B, 2 · COUNT + 1]."""
    x = torch.randint(NUMBERS, (count, COUNT), generator=draw)
    y = x.clone()
    y[:, 1:] = (x[:, 1:] + x[:, :-1]) % NUMBERS
    return torch.cat([x, torch.full((count, 1), NUMBERS), y], 1)


def needed() -> Tensor:
    """The entries of attention that the task needs: the two numbers of each sum."""
    target = torch.zeros(2 * COUNT, 2 * COUNT, dtype=torch.bool)
    for index in range(COUNT):
        target[COUNT + index, max(index - 1, 0) : index + 1] = True
    return target


@claim(
    377,
    "during the loss plateau of a task of sums, attention already moves to the numbers that are summed, outputs repeat "
    "and states are nearly parallel; attention biased that way shortens the plateau and biased away lengthens it",
    uses=("saccade.see.dynamics", "saccade.repro.claims.meas.glass"),
)
def run(quick: bool, seed: int) -> Result:
    """A unit is a seed, with training as it is and with the weights of attention multiplied by 10 or 1/10.

    One layer with one head, on sums of neighbours modulo 3. The plateau ends when the loss has fallen by half, progress
    is the attention progress measure, halfway to its end. A control multiplies as many other weights. Runs end at
    1,200 steps at the latest (helped ones and the control at 240), which then stands for the end of their plateau.
    """
    target = needed()
    other = target.roll(3, 1) & ~target & torch.ones_like(target).tril()
    plain, helped, hindered, control = [], [], [], []
    for number in range(2 if quick else 4):
        start = 1_000 * seed + 10 * number + 500
        steps = QUICK if quick else STEPS
        plain.append(trained(start, None, steps))
        helped.append(trained(start, math.log(FACTOR) * target, SHORT))
        if not quick:
            hindered.append(trained(start, -math.log(FACTOR) * target, STEPS))
            control.append(trained(start, math.log(FACTOR) * other, SHORT))
    ends = [each.plateau for each in plain]

    def pairs(one: list[float], two: list[float]) -> Units:
        return np.stack([one, two], 1)

    also = [
        Comparison(
            "step halfway: loss against attention progress",
            pairs(ends, [each.moved for each in plain]),
            BEFORE,
            drop,
        ),
        Comparison(
            "share of repeated outputs: in the plateau against after it",
            np.array([each.split(each.repetition) for each in plain]),
            REPEATS,
            drop,
        ),
        Comparison(
            "mean cosine of states: in the plateau against after it",
            np.array([each.split(each.collapse) for each in plain]),
            COLLAPSED,
            drop,
        ),
    ]
    if not quick:
        also += [
            Comparison(
                "steps of the plateau: hindered against plain",
                pairs([e.plateau for e in hindered], ends),
                SHORTER,
                saving,
            ),
            Comparison(
                "steps of the plateau: other attention raised against needed attention raised",
                pairs([e.plateau for e in control], [e.plateau for e in helped]),
                SHORTER,
                saving,
            ),
        ]
    return Result(
        Comparison(
            "steps of the plateau: plain against helped", pairs(ends, [e.plateau for e in helped]), SHORTER, saving
        ),
        tuple(also),
        {
            "plateau": {
                name: [round(each.plateau, 1) for each in some]
                for name, some in (("plain", plain), ("helped", helped), ("hindered", hindered), ("control", control))
            },
            "loss, first seed": [round(value, 3) for value in plain[0].loss.values],
            "progress, first seed": [round(value, 3) for value in plain[0].progress.values],
        },
    )


def trained(seed: int, bias: Tensor | None, steps: int) -> History:
    """Train a model with a bias on the logits of attention, and keep its history."""
    model = made(SHAPE, seed)
    fresh = sums(128, torch.Generator().manual_seed(37_700 + seed))
    target = needed()

    def loss(model: Glass, draw: torch.Generator) -> Tensor:
        line = sums(BATCH, draw)
        return F.cross_entropy(
            model(line[:, :-1], bias).logits[:, COUNT:].flatten(0, 1), line[:, COUNT + 1 :].flatten()
        )

    rows, at = [], []
    for step in training(model, loss, steps, RATE, seed):
        if step % EVERY == 0:
            with torch.no_grad():
                seen = model(fresh[:, :-1], bias)
            logits, wanted = seen.logits[:, COUNT:], fresh[:, COUNT + 1 :]
            said = logits.argmax(-1)
            at.append(step)
            rows.append(
                (
                    float((said == wanted).double().mean()),
                    float(F.cross_entropy(logits.flatten(0, 1), wanted.flatten())),
                    float(progress(seen.weights[0], target).mean()),
                    float(repetition(said).mean()),
                    float(collapse(seen.states[-1][:, COUNT:]).mean()),
                )
            )
            if len(rows) >= 3 and all(row[1] < LEARNT for row in rows[-3:]):
                break
    return History(*(Course(at, column) for column in zip(*rows, strict=True)))
