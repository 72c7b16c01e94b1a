"""[79] Massive activations of a real encoder: constant, and indispensable as biases."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see.massive import Massive, massive, replaced

from .encoder import embed, encoder
from .english import prompt, sentences

RATIO, LAYER = 20.0, 1
"""A model of 22 million parameters has ratios of tens where those of billions have thousands."""
BAR_HARM, BAR_SPARED, BAR_SINK = 0.05, -0.02, 0.1


@claim(
    79,
    "a real encoder has a huge hidden value at a fixed place that hardly varies with the input; at zero it ruins the "
    "embedding and scatters the attention that gathers there, at its mean it changes nothing, and median values at "
    "zero change nothing",
    uses=("saccade.see.massive",),
)
def run(quick: bool, seed: int) -> Result:
    """Places are found on other sentences; a unit is a sentence. Similarity is to the untouched embedding.

    The values are changed where they arise, at the output of the first layer. The paper's rule (100, and 1000 times
    the median) is lowered to 20 times the median.
    """
    choosing, measuring = (16, 24) if quick else (50, 100)
    lm = encoder()
    found = massive(lm, prompt(lm, sentences(choosing, 300 + seed))[0], ratio=RATIO, magnitude=0.0)
    places = [place for place in found if place.layer == LAYER]
    made, _ = prompt(lm, sentences(measuring, 10_300 + seed))
    whole = embed(lm, made)
    medians = control(lm, made, len(places))
    kept: dict[str, Tensor] = {}
    sink: dict[str, Tensor] = {"whole": attention_to(lm, made, places[0].token)}
    for name, where, values in (
        ("zero", places, [0.0] * len(places)),
        ("mean", places, [place.value for place in places]),
        ("medians at zero", medians, [0.0] * len(places)),
    ):
        with replaced(lm, where, values):
            kept[name] = torch.cosine_similarity(embed(lm, made), whole, dim=-1)
            sink[name] = attention_to(lm, made, places[0].token)
    one = torch.ones_like(kept["zero"])

    def pair(a: Tensor, b: Tensor) -> Any:
        return torch.stack([a, b], 1).double().numpy()

    return Result(
        Comparison(
            "similarity to the untouched embedding: at zero against at its mean",
            pair(kept["zero"], kept["mean"]),
            BAR_HARM,
        ),
        (
            Comparison("similarity: untouched against at its mean", pair(one, kept["mean"]), BAR_SPARED),
            Comparison("similarity: untouched against medians at zero", pair(one, kept["medians at zero"]), BAR_SPARED),
            Comparison(
                "attention to the place's token, later layers: at zero against untouched",
                pair(sink["zero"], sink["whole"]),
                BAR_SINK,
            ),
        ),
        {
            "places": [vars(place) for place in found[:8]],
            "variation": float(np.mean([place.spread / abs(place.value) for place in places])),
            "kept": {name: round(float(value.mean()), 4) for name, value in kept.items()},
            "attention": {name: round(float(value.mean()), 4) for name, value in sink.items()},
        },
    )


@torch.no_grad()
def attention_to(lm: Any, made: Any, token: int) -> Tensor:
    """Mean mass of the real tokens on one token, over the heads of all layers after the first ``[B]``."""
    spans = sc.Spans({"place": torch.arange(made.input_ids.shape[1]) == token})
    with lm.watch(sc.Mass(("place",)), spans=spans) as seen:
        lm(made)
    real = made.attention_mask.float()
    mass = seen["mass"].stack()[LAYER:, ..., 0].mean((0, 2))
    mean: Tensor = (mass * real).sum(-1) / real.sum(-1)
    return mean


@torch.no_grad()
def control(lm: Any, made: Any, count: int) -> list[Massive]:
    """As many places of the same token whose mean size is nearest to the median."""
    states = lm(made, output_hidden_states=True).hidden_states[LAYER]
    sizes = states[:, 0].mean(0).abs()
    nearest = (sizes - states.abs().median()).abs().argsort()[:count].tolist()
    return [Massive(LAYER, 0, dim, float(states[:, 0, dim].mean()), 0.0, 1.0) for dim in nearest]
