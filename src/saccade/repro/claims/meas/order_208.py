"""[208] Most pairs of explanations disagree, so agreement is no measure of quality."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import Gradient, Occlusion, RawAttention, Relevance, Rollout, agreement, targets

from .recall import LENGTH, copier, lists

SHOWN = 15
AGREES = 0.5
"""Kendall's tau from which two rankings count as agreeing."""
BAR = 0.2


@claim(
    208,
    "most pairs of explanations of a decoder's prediction rank its tokens differently, and an explanation that agrees "
    "less with attention can be the one whose tokens matter more",
    uses=("saccade.see.agreement", "saccade.see.controls", "saccade.see.relevance", "zoo:copier"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `copier`, the symbol that a repeated list foretells; a unit is a list.

    Two methods agree on a list where Kendall's tau is 0.5 or more. Of two methods, the one that agrees less with
    attention should agree more with occlusion, which is what removing a token changes.
    """
    lm = copier()
    count = 24 if quick else 80
    line = lists(lm, count, 50_000 + seed)
    line, wanted = line[:, : 1 + LENGTH + SHOWN], line[:, 1 + SHOWN]
    target = targets.log_probability(wanted)
    skip = torch.zeros(line.shape, dtype=torch.bool)
    skip[:, [0, -1]] = True
    methods: dict[str, Any] = {
        "attention": RawAttention(),
        "rollout": Rollout(),
        "relevance": Relevance(),
        "gradient": Gradient(),
        "gradient times input": Gradient("input"),
        "integrated gradients": Gradient("integrated", steps=12),
        "occlusion": Occlusion(skip=skip),
    }
    plain = ("attention", "rollout")
    found = {
        name: method.explain(lm, input_ids=line, **({} if name in plain else {"target": target}))
        for name, method in methods.items()
    }
    table = agreement(found, ~skip)
    pairs = list(combinations(range(len(table.names)), 2))
    agrees = np.array([[table.samples[sample, a, b] >= AGREES for a, b in pairs] for sample in range(count)]).mean(1)
    place = {name: index for index, name in enumerate(table.names)}
    with_removal = {name: table.samples[:, place["occlusion"], place[name]] for name in ("rollout", "relevance")}
    with_attention = {name: table.samples[:, place["attention"], place[name]] for name in ("rollout", "relevance")}
    return Result(
        Comparison("share of pairs of methods: that agree against that do not", np.stack([agrees, 1 - agrees], 1), BAR),
        (
            Comparison(
                "agreement with attention: relevance against rollout",
                np.stack([with_attention["relevance"], with_attention["rollout"]], 1),
                0.0,
            ),
            Comparison(
                "agreement with what removal changes: rollout against relevance",
                np.stack([with_removal["rollout"], with_removal["relevance"]], 1),
                0.05,
            ),
        ),
        {
            "tau": {f"{table.names[a]}, {table.names[b]}": round(float(table.kendall[a, b]), 3) for a, b in pairs},
        },
    )
