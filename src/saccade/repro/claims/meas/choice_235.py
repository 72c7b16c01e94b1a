"""[235] Heads that carry the letter of the right choice need few dimensions of their queries, keys and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade.heads import HeadSet, ZeroAblation
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop
from saccade.see import Lens
from saccade.see.low_rank import compressed, head_rows

from .trained import IGNORED, llama

WORDS, CHOICES, LAYERS, HEADS, WIDTH = 12, 4, 2, 4, 16
START, ASK, LETTERS, YES, NO, FIRST = 0, 1, 2, 6, 7, 8
OPTIONS = [3, 5, 7, 9]
"""Places of the words in ``<s> word A word B word C word D word ?``."""
RANK, SHARE = 3, 0.25
KEPT, BEYOND, LOST = -0.05, 0.3, 0.3


def questions(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Questions ``[B, 11]``, and which choice is right ``[B]``: the one that repeats the word of the question."""
    words = FIRST + torch.rand(count, WORDS, generator=draw).argsort(-1)[:, :CHOICES]
    right = torch.randint(CHOICES, (count,), generator=draw)
    ids = torch.full((count, 2 * CHOICES + 3), START)
    ids[:, 1] = words[torch.arange(count), right]
    ids[:, 2:-1:2] = LETTERS + torch.arange(CHOICES)
    ids[:, 3:-1:2] = words
    ids[:, -1] = ASK
    return ids, right


def lesson(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch: after each choice whether it is right, after the last token the letter."""
    ids, right = questions(64, draw)
    wanted = torch.full_like(ids, IGNORED)
    wanted[:, OPTIONS] = torch.where(torch.arange(CHOICES) == right[:, None], YES, NO)
    wanted[:, -1] = LETTERS + right
    return ids, wanted


@claim(
    235,
    "a few heads write the letter of the right choice; with their queries, keys and values kept in 3 of 16 dimensions "
    "the model answers as well, within 5 points, with random dimensions 30 points worse",
    uses=("saccade.see.low_rank", "saccade.see.lens", "saccade.heads", "saccade.repro.claims.meas.trained"),
)
def run(quick: bool, seed: int) -> Result:
    """A model trained here on four choices; a unit is a question. Heads and dimensions are found on other questions.

    Heads count as letter heads if what they write at the last position raises the right letter over the others by a
    quarter of what the best head does (direct logit attribution). The last row's queries are projected, and all keys
    and values, in all letter heads at once. Accuracy is among the letters; that of random dimensions is the mean over
    draws.
    """
    steps, models, count, draws = (300, 1, 200, 2) if quick else (400, 3, 300, 4)
    parts = [one_model(steps, count, draws, 235 + 10 * seed + number) for number in range(models)]
    columns = {name: np.concatenate([units[name] for units, _ in parts]) for name in parts[0][0]}

    def against(one: str, other: str) -> Units:
        return np.stack([columns[one], columns[other]], 1)

    return Result(
        Comparison("accuracy: whole heads against 3 of 16 dimensions", against("whole", "low"), KEPT),
        (
            Comparison("accuracy: 3 random dimensions against the principal ones", against("random", "low"), BEYOND),
            Comparison("accuracy: whole model against letter heads ablated", against("whole", "ablated"), LOST, drop),
        ),
        {
            "letter heads": [one for _, one in parts],
            "accuracy": {name: round(float(one.mean()), 3) for name, one in columns.items()},
        },
    )


def one_model(steps: int, count: int, draws: int, seed: int) -> tuple[dict[str, Units], list[str]]:
    """Whether each question is answered right in each condition, and the letter heads of this model."""
    model = llama(FIRST + WORDS, lesson, layers=LAYERS, steps=steps, seed=seed)
    lm = sc.attach(model)
    draw = torch.Generator().manual_seed(1_000_000 + seed)
    (find, letter), (ids, right) = questions(200, draw), questions(count, draw)
    lens = Lens.of(lm, input_ids=find)
    written = torch.stack([lens.head_logits(layer)[..., LETTERS : LETTERS + CHOICES] for layer in range(LAYERS)], 1)
    above = written - written.mean(-1, keepdim=True)
    raised = above.gather(-1, letter.view(-1, 1, 1, 1).expand(-1, LAYERS, HEADS, 1)).mean((0, 3))
    heads = [(layer, head) for layer, head in (raised >= SHARE * raised.max()).nonzero().tolist()]
    rows = {place: head_rows(lm, place, input_ids=find) for place in heads}

    @torch.no_grad()
    def hits() -> Units:
        said = model(input_ids=ids).logits[:, -1, LETTERS : LETTERS + CHOICES].argmax(-1)
        found: Units = (said == right).double().numpy()
        return found

    def low(number: int | None) -> Units:
        some: Any = {place: one.compression(RANK, seed=number) for place, one in rows.items()}
        with compressed(lm, some, rows=[-1]):
            return hits()

    with lm.steer(ZeroAblation(HeadSet(heads))):
        ablated = hits()
    found = {
        "whole": hits(),
        "low": low(None),
        "random": np.mean([low(number) for number in range(draws)], 0),
        "ablated": ablated,
    }
    return found, [f"L{layer}H{head} {float(raised[layer, head]):.2f}" for layer, head in heads]
