"""[170] Temporal contiguity of attention and of outputs, and what ablating induction heads does to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.heads import ZeroAblation
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

from .recall import LENGTH, REACH, copier, curves, induction, lists, rest

BAR_ATTENTION, BAR_OUTPUT, BAR_SPARED = 0.05, 0.2, -0.1
"""Of attention, and of a share of which chance is a tenth."""


@claim(
    170,
    "attention of a model with induction heads leans forward, to what followed a repeated symbol, more than to what "
    "came before it; outputs recall serially, and ablating the induction heads, not the other heads, ends both",
    uses=("saccade.see.memory", "saccade.heads", "zoo:copier"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `copier`, lists of distinct symbols said twice; a unit is a list. Heads are chosen on other lists.

    Attention is a mean over all heads of the layers with induction heads. Serial
    recall is the probability that the outputs give to the symbol at lag +1, among those at lags -5 to 5 but 0.
    """
    choosing, measuring = (64, 100) if quick else (128, 400)
    lm = copier()
    heads = induction(curves(lm, lists(lm, choosing, 10_000 + seed)))
    line = lists(lm, measuring, 20_000 + seed)

    found = curves(lm, line)
    curve = found.mean(1)
    serial = recall(lm, line)
    with lm.steer(ZeroAblation(at=heads)):
        without = recall(lm, line)
    with lm.steer(ZeroAblation(at=rest(heads))):
        spared = recall(lm, line)
    backward, forward = (found[[int(layer) for layer in heads]][..., REACH + at].mean((0, 2)) for at in (-1, 1))
    return Result(
        Comparison(
            "serial recall of outputs: induction heads ablated against whole", pair(without, serial), BAR_OUTPUT
        ),
        (
            Comparison("attention: lag -1 against lag +1", pair(backward, forward), BAR_ATTENTION),
            Comparison("serial recall: other heads ablated against whole", pair(serial, spared), BAR_SPARED),
            Comparison(
                "attention at lag +1, heads of that layer: others against induction heads",
                by_head(found[..., REACH + 1], heads),
                BAR_ATTENTION,
            ),
        ),
        {
            "induction heads": heads,
            "curves of induction heads": {
                f"L{layer}H{head}": [round(x, 4) for x in curve[int(layer), head].tolist()]
                for layer, some in heads.items()
                for head in some
            },
            "mean curve by layer": [[round(x, 4) for x in row] for row in curve.mean(1).tolist()],
            "serial recall": {
                "whole": float(serial.mean()),
                "ablated": float(without.mean()),
                "others": float(spared.mean()),
            },
        },
    )


@torch.no_grad()
def recall(lm: Any, line: Tensor) -> Tensor:
    """Probability of the symbol at lag +1 among those at lags -5 to 5 (0 left out), over the second list ``[B]``."""
    inner = torch.arange(1 + REACH, 1 + LENGTH - REACH)
    odds = lm(input_ids=line).logits[:, inner + LENGTH].softmax(-1)
    chance = [odds.gather(2, line[:, inner + lag, None])[..., 0] for lag in range(-REACH, REACH + 1) if lag]
    serial: Tensor = (chance[REACH] / torch.stack(chance).sum(0)).mean(1)
    return serial


def by_head(found: Tensor, heads: dict[int | str, list[int]]) -> Any:
    """Attention at lag +1 of the other heads of the same layers and of the induction heads, by list."""
    sides = []
    for some in (rest(heads), heads):
        sides.append(torch.cat([found[int(layer)][:, which] for layer, which in some.items()], 1).mean(1))
    return pair(*sides)


def pair(baseline: Tensor, method: Tensor) -> Any:
    """Units of two columns."""
    return torch.stack([baseline, method], 1).double().numpy()
