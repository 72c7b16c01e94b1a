"""Repeated lists on the model `copier`, and its heads, for claims about memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import saccade as sc
from saccade import zoo
from saccade.see.memory import lag_curve

LENGTH = 24
REACH = 5
SCORE = 0.2
"""Attention at lag +1 from which a head counts as an induction head, ten times that of uniform attention."""


def copier(checkpoint: int | None = None) -> Any:
    """The model, attached, with its tokenizer."""
    model, tokenizer = zoo.load("copier", checkpoint)
    return sc.attach(model, tokenizer)


def lists(lm: Any, count: int, seed: int) -> Tensor:
    """``<s>``, a list of distinct random symbols, and the list again: [count, 1 + 2 * LENGTH]."""
    special = set(lm.tokenizer.all_special_ids)
    symbols = torch.tensor([i for i in range(len(lm.tokenizer)) if i not in special])
    draw = torch.Generator().manual_seed(seed)
    drawn = symbols[torch.rand(count, len(symbols), generator=draw).argsort(-1)[:, :LENGTH]]
    return torch.cat([torch.full((count, 1), lm.tokenizer.bos_token_id), drawn, drawn], 1)


def curves(lm: Any, line: Tensor) -> Tensor:
    """Attention by lag of the second list's symbols, ``[layers, B, heads, 2 * REACH + 1]``.

    Only symbols whose lags all lie inside the first list are read.
    """
    inner = torch.arange(1 + REACH, 1 + LENGTH - REACH)
    with torch.no_grad(), lm.watch(sc.Rows((inner + LENGTH).tolist())) as seen:
        lm(input_ids=line)
    cues = inner.expand(len(line), -1)
    return torch.stack([lag_curve(seen["rows"].site(site.name), cues, REACH) for site in lm.sites])


def induction(curve: Tensor) -> dict[int | str, list[int]]:
    """Layer -> heads whose mean attention at lag +1 reaches the score."""
    high = (curve.mean(1)[..., REACH + 1] >= SCORE).nonzero().tolist()
    return {layer: [head for at, head in high if at == layer] for layer in {at for at, _ in high}}


def rest(heads: dict[int | str, list[int]], count: int = 8) -> dict[int | str, list[int]]:
    """The other heads of the same layers."""
    return {layer: [head for head in range(count) if head not in some] for layer, some in heads.items()}
