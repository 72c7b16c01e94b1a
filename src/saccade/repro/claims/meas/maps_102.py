"""[102] What a head does, told from its parameters alone, is what it does when it runs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.see import Lens, projections
from saccade.see.parameters import relation_score, token_map, vocabulary

from .recall import copier, lists

TOP, BAR = 1, 0.5
"""Tokens that count as promoted; least correlation."""


def correlation(units: Units) -> tuple[float, float, float]:
    """Pearson's correlation of the columns, against none; 0 where a column does not vary."""
    if units.std(0).min() == 0:
        return 0.0, 0.0, 0.0
    found = float(np.corrcoef(units.T)[0, 1])
    return 0.0, found, found


@claim(
    102,
    "how strongly a head's parameters copy tokens correlates, over heads, with how often its output promotes the token "
    "that it looks at",
    uses=("saccade.see.parameters", "saccade.see.writers", "zoo:copier"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `copier`, the relation "the same token"; a unit is a head, 16 in all.

    From parameters: the share of symbols that the head's map ``E W_V W_O U`` promotes most for themselves. From
    activations: how often the token that the head looks at most is the one that its output promotes most.
    """
    lm = copier()
    special = set(lm.tokenizer.all_special_ids)
    symbols = torch.tensor([i for i in range(len(lm.tokenizer)) if i not in special])
    embedding, unembedding = vocabulary(lm)
    found = projections(lm)
    static = [
        relation_score(token_map(site, head, embedding[symbols], unembedding[symbols]), range(len(symbols)), TOP)
        for site in found.values()
        for head in range(len(site.q))
    ]
    count = 60 if quick else 300
    line = lists(lm, count, 60_000 + seed)[:, :40]
    lens = Lens.of(lm, input_ids=line)
    active = torch.cat([promoted(lens, layer, line, symbols) for layer in range(len(found))]).tolist()
    units = np.array([static, active]).T
    rng = np.random.default_rng(seed)
    shuffled = np.mean(
        [abs(correlation(np.stack([units[:, 0], rng.permutation(units[:, 1])], 1))[1]) for _ in range(200)]
    )
    return Result(
        Comparison("correlation over heads of copying by parameters and by activations", units, BAR, correlation),
        details={
            "by parameters": [round(x, 3) for x in static],
            "by activations": [round(x, 3) for x in active],
            "mean size of the correlation with shuffled heads": round(float(shuffled), 3),
        },
    )


def promoted(lens: Lens, layer: int, line: Tensor, symbols: Tensor) -> Tensor:
    """How often each head's output promotes most, among symbols, the token that it looks at most ``[heads]``."""
    step = lens.seen.stack()[layer]
    looked = line.gather(1, step.transposed(lens.where[:, None]).argmax(-1))
    best = symbols[lens.head_logits(layer)[..., symbols].argmax(-1)]
    return (best == looked).double().mean(0)
