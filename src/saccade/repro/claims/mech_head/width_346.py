"""[346] The low-rank bottleneck: heads narrower than the sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.core.attention import attention
from saccade.core.measures import Rows
from saccade.mechanisms import Projected, mechanism, split_heads
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import saving

TOKENS, HEADS, BAR = 32, 8, 10.0
RESOLUTION = 1e-6
"""Least divergence that float32 tells from none."""


def misfit(seed: int, width: int, steps: int) -> float:
    """KL divergence, in nats a row, from random attention matrices that a layer with heads of ``width`` was fitted to.

    Each head has its own matrix, the softmax of logits drawn from N(0, 1), on inputs in general position.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wanted = torch.randn(HEADS, TOKENS, TOKENS).softmax(-1)
        x = torch.randn(1, TOKENS, 2 * TOKENS)
        layer = mechanism("softmax", 2 * TOKENS, HEADS, head_dim=width)
    assert isinstance(layer, Projected)
    queries_keys = [*layer.q.parameters(), *layer.k.parameters()]
    optimiser = torch.optim.Adam(queries_keys, lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        q, k, v = (split_heads(project(x), width) for project in (layer.q, layer.k, layer.v))
        rows = attention(q, k, v, measures=[Rows(range(TOKENS))])["rows"]
        assert isinstance(rows, Tensor)
        divergence = (wanted * (wanted.log() - rows[0].clamp_min(1e-30).log())).sum(-1).mean()
        optimiser.zero_grad()
        divergence.backward()
        optimiser.step()
        schedule.step()
    return max(divergence.item(), RESOLUTION)


@claim(
    346,
    "heads narrower than the sequence is long cannot form random attention matrices, heads as wide as it can",
    uses=("saccade.core.attention", "saccade.mechanisms.layer"),
)
def run(quick: bool, seed: int) -> Result:
    """Heads of dim / heads against heads as wide as the sequence; a unit is one draw of inputs and targets.

    What is left of the divergence after fitting is compared as a ratio, since a fit in finite steps leaves some of it.
    """
    draws, steps = (4, 400) if quick else (12, 1200)
    narrow = 2 * TOKENS // HEADS
    units = [[misfit(1000 * seed + i, width, steps) for width in (narrow, TOKENS)] for i in range(draws)]
    details = {"tokens": TOKENS, "widths": [narrow, TOKENS], "steps": steps}
    if not quick:
        between = (narrow, TOKENS // 2, TOKENS - narrow, TOKENS)
        details["by width"] = {width: misfit(1000 * seed + draws, width, steps) for width in between}
    return Result(Comparison("KL divergence from random attention, nats a row", units, BAR, saving), details=details)
