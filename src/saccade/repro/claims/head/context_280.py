"""[280] Which heads need the long context is seen from local keys, query by query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade import zoo
from saccade.heads.longcontext import AdaptiveWindow, LongContext
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.tasks import world

from .shared import examples, pairs, right

NEED = 0.4
"""True share of the keys between from which a row needs them, the complement of the paper's local mass."""
BAR, MORE = 0.05, 0.2


@dataclass(frozen=True)
class Drawn(LongContext):
    """The same shares, handed to other heads and rows of the same call."""

    seed: int = 0
    draws: list[torch.Generator] = field(default_factory=list, compare=False)

    def expected(self, logits: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`LongContext`."""
        if not self.draws:
            self.draws.append(torch.Generator().manual_seed(self.seed))
        share, between = super().expected(logits, visible)
        open_rows = between.any(-1).expand_as(share)
        found = share[open_rows]
        share[open_rows] = found[torch.randperm(len(found), generator=self.draws[0])]
        return share, between


def shares(lm: Any, data: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Expected and true shares of each document, ``[heads, rows]``."""
    expected: list[torch.Tensor] = []
    true: list[torch.Tensor] = []
    for prompt, _ in data:
        tiles = list(LongContext().shares(lm, prompt))
        for found, side in ((expected, 0), (true, 1)):
            found.append(torch.cat([torch.cat([pair[side].T for pair in tile.values()]) for tile in tiles], 1))
    return expected, true


@claim(
    280,
    "second moments of the last 32 keys tell for each query whether a head puts 40 % of its attention beyond local "
    "keys, 5 points more often right than a fixed choice of heads; where only they let a head see the whole document, "
    "20 points more answers are right than where as many heads are drawn at random",
    uses=("saccade.heads.longcontext", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a document of 16 facts with a question.

    Right is to agree with the attention as it is, over all heads and rows of a document. The fixed choice knows more
    than the estimate: it takes the heads whose true mean share on other documents is above the threshold. The control
    lets each layer keep the whole context for as many heads and rows, drawn anew in every call. Against the paper,
    answers are lost: one key that holds the answer is no matter of a mean and a variance; the details tell how many.
    """
    choosing, measuring, answered = (4, 10, 40) if quick else (12, 30, 100)
    with sc.attach(*zoo.load("reader")) as lm:

        def documents(shift: int, count: int) -> Any:
            return [
                batch
                for part in range(count)
                for batch in examples(lm, world.Context(difficulty=3, seed=shift + 1000 * seed + part), 1, "value")
            ]

        _, held = shares(lm, documents(1_000_000, choosing))
        fixed = torch.cat(held, 1).mean(1, keepdim=True) > NEED
        expected, true = shares(lm, documents(2_000_000, measuring))
        fresh = examples(lm, world.Context(difficulty=3, seed=20_000 + seed), answered, "value")
        plain = right(lm, fresh)
        with lm.steer(AdaptiveWindow(NEED)):
            narrow = right(lm, fresh)
        with lm.steer(AdaptiveWindow(NEED, Drawn(seed=seed))):
            drawn = right(lm, fresh)
    agreed = [
        [float((fixed == (t > NEED)).double().mean()), float(((e > NEED) == (t > NEED)).double().mean())]
        for e, t in zip(expected, true, strict=True)
    ]
    return Result(
        Comparison("share of rows and heads told right: fixed heads against second moments", np.array(agreed), BAR),
        (
            Comparison(
                "answers: whole context drawn at random, or where second moments ask for it", pairs(drawn, narrow), MORE
            ),
        ),
        {
            "answers with the whole context": float(plain.mean()),
            "rows that need it": round(float(torch.cat(true, 1).gt(NEED).double().mean()), 3),
            "rows told to need it": round(float(torch.cat(expected, 1).gt(NEED).double().mean()), 3),
        },
    )
