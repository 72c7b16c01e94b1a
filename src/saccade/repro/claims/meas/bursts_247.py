"""[247] Bursty data with many classes bring in-context learning, abruptly, with an induction head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see.dynamics import Course, progress

from .glass import Glass, Shape, made, training

WIDTH, PAIRS, BURST, LABELS, NOISE, MANY, FEW = 24, 8, 4, 4, 0.1, 1024, 16
STEPS, SHORT, EVERY, BATCH, RATE, DIM = 700, 600, 50, 32, 3e-3, 48
BAR, ABRUPT, TOGETHER = 0.2, 2.0, 0.05


@dataclass(frozen=True, eq=False)
class Contexts:
    """Pairs of item and label, then an item, as vectors [B, 2 · PAIRS + 1, WIDTH]; what is asked [B].

    ``right`` and ``wrong``: its label, and the other label of the context (or any other); ``same [B, PAIRS]``: pairs
    of its class.
    """

    inputs: Tensor
    right: Tensor
    wrong: Tensor
    same: Tensor


class World:
    """Classes with a mean and a label each, and vectors of the labels."""

    def __init__(self, classes: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.means, self.labels = unit(classes, draw), torch.randint(LABELS, (classes,), generator=draw)
        self.says = 0.4 * torch.randn(LABELS, WIDTH, generator=draw)

    def contexts(self, count: int, draw: torch.Generator, bursty: bool = True, new: bool = False) -> Contexts:
        """Bursty: two classes, four times each, one of which is asked; else nine different classes, the last asked.

        New classes with new labels, two different ones in a context, can be told from the context only.
        """
        kinds = PAIRS // BURST if bursty else PAIRS + 1
        if new:
            means = unit(count * kinds, draw).view(count, kinds, WIDTH)
            labels = torch.rand(count, LABELS, generator=draw).topk(kinds).indices
        else:
            own = torch.rand(count, len(self.means), generator=draw).topk(kinds).indices
            means, labels = self.means[own], self.labels[own]
        shown = torch.arange(PAIRS) // BURST if bursty else torch.arange(PAIRS)
        order = shown[torch.rand(count, PAIRS, generator=draw).argsort(1)]
        asked = torch.randint(kinds, (count,), generator=draw) if bursty else torch.full((count,), PAIRS)
        row = torch.arange(count)
        items = means[row[:, None], torch.cat([order, asked[:, None]], 1)]
        inputs = torch.zeros(count, 2 * PAIRS + 1, WIDTH)
        inputs[:, ::2] = items + NOISE * torch.randn(items.shape, generator=draw)
        inputs[:, 1::2] = self.says[labels[row[:, None], order]]
        other = (asked + 1) % kinds
        return Contexts(inputs, labels[row, asked], labels[row, other], order == asked[:, None])


def unit(count: int, draw: torch.Generator) -> Tensor:
    """Vectors of length 2 in random directions."""
    return 2 * F.normalize(torch.randn(count, WIDTH, generator=draw), dim=-1)


@claim(
    247,
    "bursty data with many classes bring in-context learning, data without bursts or with few classes do not; it comes "
    "abruptly, when an induction head forms",
    uses=("saccade.see.dynamics", "saccade.repro.claims.meas.glass"),
)
def run(quick: bool, seed: int) -> Result:
    """A unit is a training run of a two-layer network of attention, one head a layer; its kinds of data share a seed,
    and as many steps.

    In-context learning: of contexts with two new classes, the share in which the right label is rated above the other
    one of the context; chance is a half. Attention of the induction head: that of the asked item in the second layer
    on labels of its class. Abruptness: the greatest rise in 50 steps over the mean one.
    """
    rows, known, strides, courses = [], [], [], []
    for number in range(2 if quick else 4):
        start = 1_000 * seed + 10 * number
        steps = SHORT if quick else STEPS
        many = trained(start, MANY, True, steps)
        plain = trained(start, MANY, False, steps)
        few = plain if quick else trained(start, FEW, True, steps)
        learning, heads = many["in context"], many["induction head"]
        rises = [np.diff(course.values) for course in (learning, heads)]
        forming = int(rises[0].argmax())
        rest = np.delete(rises[1], forming)
        rows.append([plain["in context"].values[-1], few["in context"].values[-1], learning.values[-1]])
        known.append([round(run["in weights"].values[-1], 3) for run in (plain, few, many)])
        strides.append([1.0, learning.abruptness, float(rest.mean()), float(rises[1][forming])])
        courses.append({name: [round(value, 3) for value in course.values] for name, course in many.items()})
    units, when = np.array(rows), np.array(strides)
    what = "in-context learning"
    also = [
        Comparison(f"{what}: greatest rise in 50 steps over the mean one, against a line", when[:, :2], ABRUPT - 1),
        Comparison(
            "rise of the induction head: other times against when in-context learning rises", when[:, 2:], TOGETHER
        ),
    ]
    if not quick:
        also.append(Comparison(f"{what}: {FEW} classes against {MANY}", units[:, 1:], BAR))
    return Result(
        Comparison(f"{what}: data without bursts against bursty data", units[:, [0, 2]], BAR),
        tuple(also),
        {
            "in context (no bursts, few classes, many classes)": units.round(3).tolist(),
            "in weights (the same)": known,
            "courses": courses,
        },
    )


def trained(seed: int, classes: int, bursty: bool, steps: int) -> dict[str, Course]:
    """Courses of in-context learning, of learning in weights, and of the attention of the induction head."""
    world = World(classes, 24_700 + seed)
    draw = torch.Generator().manual_seed(50_000 + seed)
    new, known = world.contexts(400, draw, new=True), world.contexts(400, draw, bursty=False)
    shape = Shape(WIDTH, LABELS, 2 * PAIRS + 1, DIM, layers=2, heads=1, widening=0, vectors=True)
    model = made(shape, seed)

    def loss(model: Glass, draw: torch.Generator) -> Tensor:
        some = world.contexts(BATCH, draw, bursty)
        return F.cross_entropy(model(some.inputs).logits[:, -1], some.right)

    found: dict[str, list[float]] = {"in context": [], "in weights": [], "induction head": []}
    at = []
    for step in training(model, loss, steps, RATE, seed):
        if step % EVERY == 0:
            at.append(step)
            for name, value in measured(model, new, known).items():
                found[name].append(value)
    return {name: Course(at, values) for name, values in found.items()}


@torch.no_grad()
def measured(model: Glass, new: Contexts, known: Contexts) -> dict[str, float]:
    """In-context and in-weights accuracy, and attention of the induction head."""
    seen = model(new.inputs)
    logits = seen.logits[:, -1]
    better = logits.gather(1, new.right[:, None]) > logits.gather(1, new.wrong[:, None])
    target = torch.zeros(seen.weights[1][:, 0].shape, dtype=torch.bool)
    target[:, -1, 1::2] = new.same
    weights = (model(known.inputs).logits[:, -1].argmax(-1) == known.right).double().mean()
    return {
        "in context": float(better.double().mean()),
        "in weights": float(weights),
        "induction head": float(progress(seen.weights[1][:, 0], target).mean()),
    }
