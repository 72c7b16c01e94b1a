"""[278] Vectors along the primary sink's direction make secondary sinks, of a strength that their norm sets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see.sinks import planted, strengths
from saccade.see.trace import trace

from .encoder import encoder
from .english import prompt, sentences

LAYER = 3
"""The middle of six layers: what is added there is first read by the fourth."""
SMALL, HALF, WHOLE = 0.25, 0.5, 1.0
LEVEL = 0.1
"""Strength from which a token counts as a sink, about three times that of uniform attention."""
BAR, NORM, LASTS, WEAKER, SMALLER = 0.1, 0.03, 0.5, 0.05, 0.05


@claim(
    278,
    "a vector along the primary sink's direction, added to a word's state in a middle layer of a real encoder, makes "
    "the word a secondary sink, as one in another direction does not; the vector's norm sets how strong it is and "
    "how many layers it lasts, and the primary sink weakens; the encoder has such tokens of its own",
    uses=("saccade.see.sinks",),
)
def run(quick: bool, seed: int) -> Result:
    """A unit is a sentence of two clauses, in which one inner token is drawn.

    Strength is the mean attention of the other tokens, over heads; where it is one number, over the layers after the
    change. Norms are shares of the primary sink's own. The last comparison asks whether the encoder has secondary sinks
    of its own, as the paper's large language models do.
    """
    lm = encoder()
    draw = torch.Generator().manual_seed(27_800 + seed)
    made, _ = prompt(lm, sentences(16 if quick else 60, 27_900 + seed))
    length = made.input_ids.shape[1]
    ends = made.attention_mask.sum(-1).tolist()
    places = torch.stack([torch.arange(length) == int(torch.randint(4, end - 4, (), generator=draw)) for end in ends])
    other = torch.randn(lm.model.config.hidden_size, generator=draw)

    def read(size: float, direction: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Strength of the token, the primary sink, and the strongest other token, after the change ``[B, layers]``."""
        with torch.no_grad(), planted(lm, LAYER, places, size, direction):
            found = strengths(trace(lm, made)).mean(2)[LAYER:]
        return (found * places).sum(-1).T, found[:, :, 0].T, found[:, :, 1:].amax(-1).T

    none, random = read(0.0), read(WHOLE, other)
    small, half, whole = (read(size) for size in (SMALL, HALF, WHOLE))

    def pairs(baseline: Tensor, method: Tensor) -> Any:
        return torch.stack([baseline, method], 1).double().numpy()

    def lifetime(found: tuple[Tensor, ...]) -> Tensor:
        return (found[0] >= LEVEL).double().sum(1)

    return Result(
        Comparison("strength: nothing added against the direction", pairs(none[0].mean(1), whole[0].mean(1)), BAR),
        (
            Comparison("strength: a random direction against it", pairs(random[0].mean(1), whole[0].mean(1)), BAR),
            Comparison("strength: half the norm against the norm", pairs(half[0].mean(1), whole[0].mean(1)), NORM),
            Comparison(
                "layers as a sink: a quarter of the norm against it", pairs(lifetime(small), lifetime(whole)), LASTS
            ),
            Comparison(
                "primary sink: nothing added against it", pairs(none[1].mean(1), whole[1].mean(1)), WEAKER, drop
            ),
            Comparison(
                "strength at half the norm: primary against secondary",
                pairs(half[1].mean(1), half[0].mean(1)),
                SMALLER,
                drop,
            ),
            Comparison(
                "strongest token but the first, nothing added: what a sink has against it",
                pairs(torch.full_like(none[2][:, 0], LEVEL), none[2].amax(1)),
                0.0,
            ),
        ),
        {
            name: {"secondary": rounded(found[0]), "primary": rounded(found[1])}
            for name, found in {
                "nothing": none,
                "random": random,
                "quarter": small,
                "half": half,
                "whole": whole,
            }.items()
        },
    )


def rounded(found: Tensor) -> list[float]:
    """Means by layer, to print."""
    return [round(value, 3) for value in found.mean(0).tolist()]
