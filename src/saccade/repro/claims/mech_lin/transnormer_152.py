"""[152] TransNormer with lightning attention: the same cost a token at every length."""

from __future__ import annotations

import torch

from saccade.mechanisms import Layer, mechanism
from saccade.repro.claims.mech_lin.lookup import USES as TASK
from saccade.repro.claims.mech_lin.lookup import Lookup
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, data, host, right, trained
from saccade.repro.host import Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, gain, saving
from saccade.testing.cost import Counter

LENGTH, GROWTH_BAR, CONSTANT, BEHIND, LEARNT = 256, 2.0, -0.05, 0.05, 0.2


def operations(layer: Layer, length: int) -> float:
    """Of a training step of one layer, for each token, as counted; softmax attention as its equation is written."""
    x = torch.zeros(1, length, layer.shape.dim, requires_grad=True)
    count = Counter()
    with count:
        layer(x, path="reference" if layer.info.name == "softmax" else "auto").sum().backward()
    return count.flops / length


def growth(layer: Layer, stretch: int) -> float:
    """Of operations a token from ``LENGTH`` to ``stretch`` times the length."""
    return operations(layer, stretch * LENGTH) / operations(layer, LENGTH)


@claim(
    152,
    "a training step of TransNormer takes the same operations a token at sixteen times the length, where softmax "
    "attention takes several times as many, and it learns to recall as well as softmax attention",
    uses=(*USES, *TASK, "saccade.mechanisms.scan", "saccade.mechanisms.linear.kernel", "saccade.testing.cost"),
)
def run(quick: bool, seed: int) -> Result:
    """Counted operations of a layer, forward and backward, and answers of one-layer models to keys that ask for values.

    Units: of operations a width, of accuracy a training run of both on the same data. Control: it is not guessing.
    """
    runs, steps, stretch = (2, 150, 4) if quick else (3, 200, 16)
    counts = [
        [growth(mechanism(name, width, 2), stretch) for name in ("softmax", "transnormer")] for width in (32, 48, 64)
    ]
    task, tests = Lookup(keys=8, values=4, pairs=6), Lookup(keys=8, values=4, pairs=6, rows=512)
    sizes = Sizes(task.vocabulary, dim=32, heads=2, layers=1)
    makes = {name: host(sizes, name) for name in ("softmax", "transnormer")}
    models, rates = trained(makes, task, steps, RATES, runs, seed)
    fresh = data(tests, MEASURED + seed)
    answers = [[right(model, fresh) for model in pair.values()] for pair in models]
    return Result(
        Comparison(f"growth of operations a token from {LENGTH} to {stretch * LENGTH}", counts, GROWTH_BAR, saving),
        (
            Comparison("the same growth: none, and TransNormer's", [[1.0, own] for _, own in counts], CONSTANT, drop),
            Comparison("share of values recalled: softmax, TransNormer", answers, -BEHIND, gain),
            Comparison(
                "share of values recalled: a guess, TransNormer", [[1 / task.values, own] for _, own in answers], LEARNT
            ),
        ),
        {"steps": steps, "rates": rates, "answers": answers, "growth": counts},
    )
