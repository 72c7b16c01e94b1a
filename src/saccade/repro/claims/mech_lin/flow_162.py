"""[162] Flow attention: conservation of flow keeps linear attention from the trivial."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from saccade.mechanisms import mechanism, split_heads
from saccade.mechanisms.linear.concentration import entropy, weights_of
from saccade.repro.claims.mech_lin.agent_204 import bare
from saccade.repro.claims.mech_lin.lookup import USES as TASK
from saccade.repro.claims.mech_lin.lookup import Lookup
from saccade.repro.claims.mech_lin.shared import USES, Plain, work
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, data, right, trained
from saccade.repro.host import Host, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, gain
from saccade.testing import exponent

BETTER, SHARPER, GROWTH = 0.05, 0.05, -0.05


@torch.no_grad()
def blur(model: Host, tokens: Tensor) -> float:
    """Entropy of the weights of all heads and layers, their rows brought to 1, as a share of the greatest."""
    x, found = model.embed(tokens), []
    for block in model.blocks:
        inside, mix = block.norm(x), block.mix
        q, k = (split_heads(p(inside), mix.shape.head_dim) for p in (mix.q, mix.k))
        weights = weights_of(mix.inner, q, k, causal=False)
        found.append(entropy(weights / weights.sum(-1, keepdim=True)).mean())
        x = block(x)
    return float(torch.stack(found).mean()) / math.log(tokens.shape[1])


def power(width: int, length: int = 512) -> float:
    """The power of the length with which the operations of a layer grow."""
    layer = mechanism("flow", width, 2)
    short, long = (
        work(lambda tokens=tokens: layer(torch.zeros(1, tokens, width), causal=False))[0]
        for tokens in (length, 2 * length)
    )
    return exponent(short, long)


@claim(
    162,
    "conservation of flow makes the weights of a sigmoid kernel sharper and lets a model recall more than the "
    "same kernel without it, at a cost linear in length",
    uses=(*USES, *TASK, "saccade.repro.claims.mech_lin.agent_204", "saccade.mechanisms.linear.concentration"),
)
def run(quick: bool, seed: int) -> Result:
    """Answers of one-layer models to keys that ask for values, entropy of their weights, and counted operations.

    Units: of accuracy and entropy a training run of both on the same data, of operations a width.
    """
    runs, steps = (2, 200) if quick else (4, 300)
    task, tests = (Lookup(keys=8, values=4, pairs=6, asked=6, rows=rows) for rows in (32, 512))
    sizes = Sizes(task.vocabulary, dim=32, heads=2, layers=1, causal=False)
    makes = {"sigmoid": partial(bare, sizes, Plain, feature="sigmoid"), "flow": partial(bare, sizes, "flow")}
    models, rates = trained(makes, task, steps, RATES, runs, seed)
    fresh = data(tests, MEASURED + seed)
    answers = [[right(model, fresh) for model in pair.values()] for pair in models]
    blurs = [[blur(model, fresh[0]) for model in pair.values()] for pair in models]
    growth = [[1.0, power(width)] for width in (16, 32, 64)]
    return Result(
        Comparison("share of values recalled: sigmoid kernel, flow", answers, BETTER, gain),
        (
            Comparison("entropy of the weights, uniform is 1", blurs, SHARPER, drop),
            Comparison("power of the length with which operations grow: linear, and flow's", growth, GROWTH, drop),
        ),
        {"steps": steps, "rates": rates, "answers": answers, "entropies": blurs},
    )
