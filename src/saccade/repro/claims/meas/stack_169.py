"""[169] The retrieval problem takes stacked heads, which emerge in order, given easier questions beside the hardest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see.dynamics import Course

from .glass import Glass, Shape, made, training

SYMBOLS, HARDEST, SCALE = 8, 2, 8.0
"""The scale of the inputs makes what a token says as large as where it stands."""
STEPS, SHORT, EVERY, BATCH, RATE, DIM = 1_500, 200, 20, 64, 3e-3, 32
EMERGED = 0.5
"""Attention on the pair of a step from which its head has emerged; uniform attention is 1/9."""
CURRICULUM, LAYERS, ORDER = 0.3, 0.3, 1.0


@dataclass(frozen=True, eq=False)
class Chains:
    """Questions as vectors [B, SYMBOLS + 1, ·], symbols reached [B], and places of the pairs on the way [B, ·]."""

    inputs: Tensor
    reached: Tensor
    way: Tensor


def chains(count: int, steps: Tensor, hardest: int, draw: torch.Generator) -> Chains:
    """One circle through all symbols as pairs in random order, then a start and a number of steps ``[B]``."""
    row = torch.arange(count)[:, None]
    circle = torch.rand(count, SYMBOLS, generator=draw).argsort(1)
    order = torch.rand(count, SYMBOLS, generator=draw).argsort(1)
    start = torch.randint(SYMBOLS, (count, 1), generator=draw)
    first, second = circle[row, order], circle[row, (order + 1) % SYMBOLS]
    inputs = torch.zeros(count, SYMBOLS + 1, 3 * SYMBOLS + hardest)
    inputs[:, :-1, :SYMBOLS] = F.one_hot(first, SYMBOLS).float()
    inputs[:, :-1, SYMBOLS : 2 * SYMBOLS] = F.one_hot(second, SYMBOLS).float()
    inputs[:, -1, 2 * SYMBOLS : 3 * SYMBOLS] = F.one_hot(circle[row, start][:, 0], SYMBOLS).float()
    inputs[:, -1, 3 * SYMBOLS :] = F.one_hot(steps - 1, hardest).float()
    reached = circle[row, (start + steps[:, None]) % SYMBOLS][:, 0]
    return Chains(SCALE * inputs, reached, order.argsort(1)[row, (start + torch.arange(hardest)) % SYMBOLS])


@claim(
    169,
    "following a chain of pairs takes as many layers as steps and is learnt only with easier questions beside the "
    "hardest ones; the heads that take the steps emerge in their order",
    uses=("saccade.see.dynamics", "saccade.repro.claims.meas.glass"),
)
def run(quick: bool, seed: int) -> Result:
    """A unit is a training run; pairs are one token each and see only themselves, so that only the question moves on.

    Accuracy is that on questions of the most steps (chance 1/8 or less), after as many batches; with easier questions
    each number of steps has an equal share of them. A head has emerged when the attention of the question, in the layer
    of the same number as the step, to the pair of that step is a half; the worst two successive steps of a run count.
    """
    steps = SHORT if quick else STEPS
    rows, gaps, heads = [], [], []
    for number in range(2):
        start = 1_000 * seed + 10 * number + 500
        mixed, emerged = trained(start, HARDEST, HARDEST, True, steps)
        alone, _ = trained(start, HARDEST, HARDEST, False, steps)
        shallow, _ = trained(start, HARDEST, HARDEST - 1, True, steps)
        rows.append([alone, shallow, mixed])
        gaps.append(min(zip(emerged[1:], emerged[:-1], strict=True), key=lambda pair: pair[0] - pair[1]))
        heads.append([round(each, 1) for each in emerged])
    units = np.array(rows)
    return Result(
        Comparison(
            f"accuracy on {HARDEST} steps: these alone against easier ones beside", units[:, [0, 2]], CURRICULUM
        ),
        (
            Comparison(
                f"accuracy on {HARDEST} steps: {HARDEST - 1} layers against {HARDEST}", units[:, [1, 2]], LAYERS
            ),
            Comparison("step of training at which a head emerges, against the one before", np.array(gaps), ORDER, drop),
        ),
        {"accuracy (alone, a layer less, mixed)": units.round(3).tolist(), "heads emerge at": heads},
    )


def trained(seed: int, hardest: int, layers: int, mixed: bool, steps: int) -> tuple[float, list[float]]:
    """Accuracy on the hardest questions, and when the head of each layer has emerged (at the end, if never)."""
    shape = Shape(3 * SYMBOLS + hardest, SYMBOLS, SYMBOLS + 1, DIM, layers, 1, widening=2, causal=False, vectors=True)
    model = made(shape, seed)
    alone = torch.zeros(SYMBOLS + 1, SYMBOLS + 1).masked_fill(~torch.eye(SYMBOLS + 1, dtype=torch.bool), -torch.inf)
    alone[-1] = 0
    draw = torch.Generator().manual_seed(16_900 + seed)
    fresh = chains(400, torch.full((400,), hardest), hardest, draw)

    def loss(model: Glass, draw: torch.Generator) -> Tensor:
        asked = torch.randint(1 if mixed else hardest, hardest + 1, (BATCH,), generator=draw)
        some = chains(BATCH, asked, hardest, draw)
        return F.cross_entropy(model(some.inputs, alone).logits[:, -1], some.reached)

    at, found, accuracy = [], [], 0.0
    for step in training(model, loss, steps, RATE, seed):
        if step % EVERY == 0:
            with torch.no_grad():
                seen = model(fresh.inputs, alone)
            accuracy = float((seen.logits[:, -1].argmax(-1) == fresh.reached).double().mean())
            at.append(step)
            found.append(
                [float(each[:, 0, -1].gather(1, fresh.way[:, i, None]).mean()) for i, each in enumerate(seen.weights)]
            )
    courses = [Course(at, column) for column in zip(*found, strict=True)]
    return accuracy, [min(each.reaches(EMERGED), steps) for each in courses]
