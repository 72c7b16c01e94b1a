"""[211] Induction heads: what they do, and when they form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import saccade as sc
from saccade import zoo
from saccade.heads import ZeroAblation
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop

SEGMENT, CHECKPOINTS = 24, 20
SCORE = 0.2
"""Score from which a head counts as an induction head, ten times that of uniform attention."""
BAR, SPARED, TOGETHER = 0.5, -0.1, 0.1


def repeats(tokenizer: Any, rows: int, seed: int) -> Tensor:
    """``<s>``, a segment of distinct random symbols, and the segment again: [rows, 1 + 2 · SEGMENT]."""
    special = set(tokenizer.all_special_ids)
    symbols = torch.tensor([i for i in range(len(tokenizer)) if i not in special])
    draw = torch.Generator().manual_seed(seed)
    segment = symbols[torch.rand(rows, len(symbols), generator=draw).argsort(-1)[:, :SEGMENT]]
    return torch.cat([torch.full((rows, 1), tokenizer.bos_token_id), segment, segment], 1)


def scores(lm: Any, line: Tensor) -> dict[tuple[int, int], float]:
    """Induction score of each head: mean attention from a symbol of the copy to what followed its first occurrence."""
    rows = range(SEGMENT + 1, 2 * SEGMENT)
    with torch.no_grad(), lm.watch(sc.Rows(rows)) as seen:
        lm(input_ids=line)
    found: dict[tuple[int, int], float] = {}
    for site in lm.sites:
        kept = seen["rows"].site(site.name)
        target = torch.arange(2, SEGMENT + 1)
        score = kept[:, :, torch.arange(len(target)), target].mean((0, 2))
        found |= {(site.layer, head): float(score[head]) for head in range(site.heads)}
    return found


@torch.no_grad()
def copied(lm: Any, line: Tensor) -> Tensor:
    """Share of the copy, but its first symbol, that each sequence's greedy predictions get right: [rows]."""
    foretold = lm(input_ids=line).logits[:, SEGMENT + 1 : -1].argmax(-1)
    right: Tensor = foretold == line[:, SEGMENT + 2 :]
    return right.double().mean(-1)


@claim(
    211,
    "ablating the induction heads destroys copying and ablating the other heads of their layers spares it; when they "
    "form in training, copying rises more than at other times",
    uses=("saccade.heads", "zoo:copier"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `copier`; a unit is a sequence. Heads and the time when they form are chosen on other sequences."""
    choosing, measuring = (64, 200) if quick else (256, 1000)
    model, tokenizer = zoo.load("copier")
    held, fresh = repeats(tokenizer, choosing, 10_000 + seed), repeats(tokenizer, measuring, 20_000 + seed)
    with sc.attach(model, tokenizer) as lm:
        by_head = scores(lm, held)
        chosen = by_layer([each for each in by_head if by_head[each] >= SCORE])
        others = by_layer([each for each in by_head if by_head[each] < SCORE and each[0] in chosen])
        whole = copied(lm, fresh)
        without, spared = (ablated(lm, fresh, heads) for heads in (chosen, others))
    highest, course = zip(*(checkpoint(number, tokenizer, held, fresh) for number in range(CHECKPOINTS)), strict=True)
    forming = int(torch.tensor(highest).diff().argmax())
    rises = torch.stack(course, 1).diff(dim=1)
    usual = (rises.sum(1) - rises[:, forming]) / (CHECKPOINTS - 2)
    return Result(
        Comparison("accuracy on copies: whole model against induction heads ablated", pairs(whole, without), BAR, drop),
        (
            Comparison("accuracy on copies: other heads ablated against whole model", pairs(whole, spared), SPARED),
            Comparison(
                "rise of copying when heads form against other times", pairs(usual, rises[:, forming]), TOGETHER
            ),
        ),
        {
            "scores": {f"{layer}.{head}": round(score, 3) for (layer, head), score in by_head.items()},
            "ablated": chosen,
            "spared": others,
            "highest score by checkpoint": [round(score, 3) for score in highest],
            "copying by checkpoint": [round(float(each.mean()), 3) for each in course],
        },
    )


def ablated(lm: Any, line: Tensor, heads: Mapping[int | str, list[int]]) -> Tensor:
    """Copying with these heads at zero."""
    with lm.steer(ZeroAblation(at=heads)):
        return copied(lm, line)


def checkpoint(number: int, tokenizer: Any, held: Tensor, fresh: Tensor) -> tuple[float, Tensor]:
    """Highest induction score, and copying on fresh sequences, at a time in training."""
    model, _ = zoo.load("copier", number)
    with sc.attach(model, tokenizer) as lm:
        return max(scores(lm, held).values()), copied(lm, fresh)


def by_layer(heads: list[tuple[int, int]]) -> dict[int | str, list[int]]:
    """Layer -> heads, as edits take them."""
    return {layer: [head for at, head in heads if at == layer] for layer in {at for at, _ in heads}}


def pairs(baseline: Tensor, method: Tensor) -> Any:
    """Units of two columns."""
    return torch.stack([baseline, method], 1).numpy()
