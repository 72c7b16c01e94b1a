"""[145] Attention and attributions rank tokens differently, and attributions do not agree either."""

from __future__ import annotations

from typing import Any

import numpy as np

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import Gradient, Occlusion, RawAttention, Rollout, agreement, targets

from .encoder import MASK, embed, encoder, pool
from .english import prompt, sentences

ATTENTION = ("attention", "rollout")
ATTRIBUTIONS = ("gradient times input", "integrated gradients", "occlusion by mask", "occlusion by zero")
BAR = 0.3
"""Kendall's tau by which agreement between methods falls short of that of one method with itself."""


@claim(
    145,
    "on a real encoder attention agrees with no attribution, and attributions hardly agree with each other, while a "
    "method agrees with itself when it is computed a little differently",
    uses=("saccade.see.agreement", "saccade.see.controls"),
)
def run(quick: bool, seed: int) -> Result:
    """Kendall's tau over the words of a sentence, a unit; what is explained is its similarity with its first clause.

    The ceiling is the tau between integrated gradients with 8 and with 12 steps.
    """
    lm = encoder()
    drawn = sentences(12 if quick else 50, 500 + seed)
    made, words = prompt(lm, drawn)
    first = lm.prompt([one.text.split(",")[0] + "." for one in drawn])
    target = targets.similarity(embed(lm, first), made.attention_mask)
    skip = words < 0
    found = {
        "attention": RawAttention().explain(lm, made, token=pool(made)),
        "rollout": Rollout().explain(lm, made, token=pool(made)),
        "gradient times input": Gradient("input").explain(lm, made, target=target),
        "integrated gradients": Gradient("integrated", steps=8).explain(lm, made, target=target),
        "occlusion by mask": Occlusion("token", token_id=MASK, skip=skip).explain(lm, made, target=target),
        "occlusion by zero": Occlusion("embedding", skip=skip).explain(lm, made, target=target),
        "integrated again": Gradient("integrated", steps=12).explain(lm, made, target=target),
    }
    table = agreement(found, ~skip)
    place = {name: index for index, name in enumerate(table.names)}

    def mean(pairs: list[tuple[str, str]]) -> Any:
        return np.mean([table.samples[:, place[a], place[b]] for a, b in pairs], axis=0)

    across = mean([(a, b) for a in ATTENTION for b in ATTRIBUTIONS])
    among = mean([(a, b) for i, a in enumerate(ATTRIBUTIONS) for b in ATTRIBUTIONS[:i]])
    itself = mean([("integrated gradients", "integrated again")])
    return Result(
        Comparison(
            "Kendall's tau: attention with attributions against a method with itself",
            np.stack([across, itself], 1),
            BAR,
        ),
        (
            Comparison(
                "Kendall's tau: attributions with each other against a method with itself",
                np.stack([among, itself], 1),
                BAR,
            ),
        ),
        {
            "tau": {
                f"{a}, {b}": round(float(table.kendall[place[a], place[b]]), 3)
                for i, a in enumerate(table.names)
                for b in table.names[:i]
            }
        },
    )
