"""[130] Few singular vectors carry what one head tells another, they name the teller, and cutting them deafens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.core.edits import Rewrite
from saccade.core.measures import Rows
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see import trace
from saccade.see.signals import Signals, signals

from .recall import LENGTH, SCORE, copier, curves, induction, lists

KEY, QUERY, SHARE = 12, 11 + LENGTH, 0.9
"""The symbol after the first occurrence, and the second occurrence, which an induction head links; and the whole."""
BAR_SPARSE, BAR_BASIS, BAR_TRACED, BAR_CUT, BAR_OTHER = 0.5, 0.0, 0.5, 0.2, 0.15


@claim(
    130,
    "half of the singular vectors or fewer reach 90 % of an induction head's logit above the mean, fewer than of a "
    "random basis; along them the part of the key token that counts most was written by a previous-token head; without "
    "that part attention falls by 0.2, and without it along as many other vectors by 0.15 less",
    uses=("saccade.see.signals", "saccade.see.lens", "saccade.repro.claims.meas.recall", "zoo:copier"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `copier`, lists said twice; a unit is a fresh list, mean over the induction heads.

    Other lists tell the induction heads (by attention) and the previous-token heads (those of the first layer with
    attention of at least 0.2 to the token before). The vectors of a pair of tokens are the fewest whose terms reach
    90 % of the logit less the mean over keys. What is cut is the previous-token heads' part of the key, along the
    vectors of the pair or along as many of the others, for the query and all induction heads at once.
    """
    count, draws = (40, 2) if quick else (200, 4)
    lm = copier()
    choose, fresh = lists(lm, 40, 15_000 + seed), lists(lm, count, 16_000 + seed)
    heads = [(layer, head) for layer, some in induction(curves(lm, choose)).items() for head in some if layer == 1]
    tellers = previous(lm, choose)
    seen = {place: signals(lm, *place, QUERY, KEY, input_ids=fresh) for place in heads}
    needed, anyhow, traced = [], [], []
    cuts: list[dict[tuple[int, int], Tensor]] = [{} for _ in range(1 + draws)]
    for place, one in seen.items():
        kept = one.kept(SHARE)
        needed.append(kept.double().mean(-1))
        anyhow.append(in_random_basis(one, draws))
        sources = one.sources(kept)
        first = torch.stack(list(sources.values())).argmax(0).tolist()
        traced.append(torch.tensor([list(sources)[i] in tellers for i in first]).double())
        cuts[0][place] = told(one, kept, tellers)
        for number in range(draws):
            cuts[1 + number][place] = told(one, others(kept, number), tellers)
    whole = looking(lm, fresh, {place: torch.zeros(count) for place in heads})
    cut, *spared = (looking(lm, fresh, less) for less in cuts)
    parts = len(next(iter(seen.values())).parts)
    every = torch.ones(count)
    few = torch.stack(needed).mean(0)
    return Result(
        Comparison(
            "share of the singular vectors that reach 90 % of an induction head's logit, against all",
            pair(every, few),
            BAR_SPARSE,
            drop,
        ),
        (
            Comparison(
                "the same share: random bases against singular vectors",
                pair(torch.stack(anyhow).mean(0), few),
                BAR_BASIS,
                drop,
            ),
            Comparison(
                "largest part of the key token along them is a previous-token head's, against chance",
                pair(every * len(tellers) / parts, torch.stack(traced).mean(0)),
                BAR_TRACED,
            ),
            Comparison("attention to the symbol to copy: whole against that part cut", pair(whole, cut), BAR_CUT, drop),
            Comparison(
                "attention to the symbol to copy: cut along other vectors against along these",
                pair(torch.stack(spared).mean(0), cut),
                BAR_OTHER,
                drop,
            ),
        ),
        {
            "induction heads": [f"L{layer}H{head}" for layer, head in heads],
            "previous-token heads": tellers,
            "vectors that reach 90 %": {
                f"L{layer}H{head}": round(float(one.kept(SHARE).sum(-1).double().mean()), 2)
                for (layer, head), one in seen.items()
            },
            "part of the key token along the vectors": {
                f"L{layer}H{head}": {
                    name: round(float(value.mean()), 2) for name, value in one.sources(one.kept(SHARE)).items()
                }
                for (layer, head), one in seen.items()
            },
        },
    )


def previous(lm: Any, ids: Tensor) -> list[str]:
    """Heads of the first layer that look at the token before."""
    step = trace(lm, input_ids=ids).stack()[0]
    row = step.rows([KEY])[:, :, 0, KEY - 1].mean(0)
    return [f"L0H{head}" for head in (row >= SCORE).nonzero()[:, 0].tolist()]


def in_random_basis(one: Signals, draws: int) -> Tensor:
    """Share of a random basis of the head's dimensions that reaches as much of the logit ``[B]``, mean over draws."""
    found = []
    for number in range(draws):
        draw = torch.Generator().manual_seed(number)
        turn = torch.linalg.qr(torch.randn(len(one.values), len(one.values), generator=draw))[0]
        found.append(one.turned(turn).kept(SHARE).double().mean(-1))
    return torch.stack(found).mean(0)


def others(kept: Tensor, number: int) -> Tensor:
    """As many of the vectors that are not kept, drawn at random, ``[B, r]``."""
    draw = torch.Generator().manual_seed(number)
    order = torch.rand(kept.shape, generator=draw).masked_fill(kept, -1.0).argsort(-1, descending=True)
    rank = order.argsort(-1)
    return (rank < kept.sum(-1, keepdim=True)) & ~kept


def told(one: Signals, vectors: Tensor, tellers: list[str]) -> Tensor:
    """What the tellers add to the logit along some vectors ``[B]``."""
    sources = one.sources(vectors)
    return torch.stack([sources[name] for name in tellers]).sum(0)


def looking(lm: Any, ids: Tensor, less: dict[tuple[int, int], Tensor]) -> Tensor:
    """Attention of these heads from the query to the key, so much less of the logit, mean over heads ``[B]``."""
    edits = []
    for (layer, head), amount in less.items():

        def lower(tile: Tensor, rows: Tensor, amount: Tensor = amount) -> Tensor:
            tile = tile.clone()
            here = (rows == QUERY).nonzero()[:, 0]
            tile[:, :, here, KEY] -= amount.to(tile)[:, None, None]
            return tile

        edits.append(Rewrite(lower, on="logits", at={layer: [head]}))
    found = []
    with torch.no_grad(), lm.steer(*edits), lm.watch(Rows([QUERY])) as seen:
        lm(input_ids=ids)
    for layer, head in less:
        found.append(seen["rows"].site(lm.sites[layer].name)[:, head, 0, KEY])
    return torch.stack(found).mean(0)


def pair(baseline: Tensor, method: Tensor) -> Any:
    """Units of two columns."""
    return np.stack([baseline.double().numpy(), method.double().numpy()], 1)
