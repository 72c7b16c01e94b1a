"""[285] Efficient attention: keys meet values first."""

from __future__ import annotations

from functools import partial

import torch

from saccade.mechanisms import mechanism
from saccade.repro.claims.mech_lin.lookup import USES as TASK
from saccade.repro.claims.mech_lin.lookup import Lookup
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, data, host, right, trained
from saccade.repro.host import Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, gain, saving
from saccade.testing import counted

WIDTH = 16
LENGTH, LESS_MEMORY, LESS_WORK, EXACT, BEHIND, BLIND = 4096, 50.0, 20.0, -1e-10, 0.03, 0.2


def costs(dim: int) -> tuple[list[float], list[float]]:
    """Bytes moved and operations on ``LENGTH`` tokens: dot-product attention as written, and efficient attention.

    Heads are ``WIDTH`` wide, as in the models that are trained.
    """
    x = torch.zeros(1, LENGTH, dim)
    dot, efficient = (mechanism(name, dim, dim // WIDTH) for name in ("softmax", "efficient"))
    one = counted(partial(dot, x, causal=False, path="reference"))
    other = counted(partial(efficient, x, causal=False))
    return [float(one.bytes), float(other.bytes)], [float(one.flops), float(other.flops)]


@torch.no_grad()
def apart(seed: int, length: int = 256, dim: int = 32) -> float:
    """Largest difference from dot-product attention that is scaled by 1/n in place of a softmax, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = mechanism("efficient", dim, 2, normalisation="scaling").double()
        x = torch.randn(2, length, dim, dtype=torch.float64)
    q, k, v = (p(x).view(2, length, 2, dim // 2).transpose(1, 2) for p in (layer.q, layer.k, layer.v))
    dot = layer.out((q @ k.mT / length @ v).transpose(1, 2).flatten(-2))
    return float((layer(x, causal=False) - dot).abs().max())


@claim(
    285,
    "keys and values multiplied first give the very outputs of scaled dot-product attention, and with softmax "
    "normalisation recall as much as softmax attention, for a small part of its traffic and work at 4,096 tokens",
    uses=(*USES, *TASK, "saccade.mechanisms.baseline.softmax", "saccade.testing.cost"),
)
def run(quick: bool, seed: int) -> Result:
    """Counted costs, differences, and answers of one-layer models to keys that ask for values.

    Units: of costs a width, of differences an input, of accuracy a training run. Control: softmax attention answers
    far better than guessing.
    """
    runs, steps = (3, 150) if quick else (5, 250)
    memory, work = zip(*(costs(dim) for dim in (32, 48, 64)), strict=True)
    exact = [[0.0, apart(1000 * seed + i)] for i in range(8)]
    task, tests = Lookup(), Lookup(rows=512)
    sizes = Sizes(task.vocabulary, dim=32, heads=2, layers=1, causal=False)
    makes = {name: host(sizes, name) for name in ("softmax", "efficient")}
    models, rates = trained(makes, task, steps, RATES, runs, seed)
    fresh = data(tests, MEASURED + seed)
    answers = [[right(model, fresh) for model in pair.values()] for pair in models]
    return Result(
        Comparison(f"bytes moved by a layer on {LENGTH} tokens", list(memory), LESS_MEMORY, saving),
        (
            Comparison(f"operations of a layer on {LENGTH} tokens", list(work), LESS_WORK, saving),
            Comparison("largest difference from scaled dot-product attention", exact, EXACT, drop),
            Comparison("share of questions answered", answers, -BEHIND, gain),
            Comparison(
                "share of questions answered, guessing and softmax",
                [[1 / task.values, row[0]] for row in answers],
                BLIND,
                gain,
            ),
        ),
        {"steps": steps, "rates": rates},
    )
