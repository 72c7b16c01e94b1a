"""[131] Edits of attention by hand help as far as the hand knows where to look."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import saccade as sc
from saccade import zoo
from saccade.evaluation import Prepared, graded, prepare
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop
from saccade.tasks.world import Conflict
from saccade.viewer.selection import PICKED, Selection

BATCH = 50
STRENGTHS = (2.0, 4.0, 8.0)
"""What the viewer's slider reaches, in octaves."""
NO_GAIN, GAIN = -0.05, 0.10
QUICK_NO_GAIN, QUICK_GAIN = -0.20, 0.0
"""Of 60 documents instead of 600."""
Picks = Callable[[list[int], int, random.Random], list[int]]


def informed(gold: list[int], length: int, rng: random.Random) -> list[int]:
    """Who knows where the answer stands picks these words."""
    return gold


def uninformed(gold: list[int], length: int, rng: random.Random) -> list[int]:
    """Who does not picks as many words in a row at a random place."""
    start = rng.randrange(length - len(gold) + 1)
    return list(range(start, start + len(gold)))


@claim(
    131,
    "words picked in the viewer come back as an edit that changes what the model says, and yet letting users edit does "
    "not always help: users who know where the answer stands gain at least 10 points, those who do not gain at most 5",
    uses=("saccade.viewer.selection", "saccade.evaluation", "saccade.tasks", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`, documents that contradict its weights; right is what the document says; a unit is a
    document with a question.

    The paper lets 18 people edit maps of image patches and finds no gain over maps that cannot be edited. People are
    not executable: here are two users at the ends of what people may know, and the model reads text. Each user's
    selection takes the way of the viewer's: JSON, then a `Selection`, then edits and spans, in all heads. The strength
    is that with which the informed user does best on other documents, from 2, 4 and 8; both users have it.
    """
    choosing, measuring = (20, 60) if quick else (100, 600)
    with sc.attach(*zoo.load("reader")) as lm:
        held, fresh = documents(lm, 10_000 + seed, choosing), documents(lm, 30_000 + seed, measuring)
        tried = {one: float(edited(lm, held, informed, one, seed).mean()) for one in STRENGTHS}
        strength = max(tried, key=lambda one: tried[one])
        plain = graded(fresh, written(lm, fresh))
        known, unknown = (edited(lm, fresh, user, strength, seed) for user in (informed, uninformed))
    return Result(
        Comparison(
            "right replies: as it is against edits by a user who does not know the place",
            np.stack([plain, unknown], 1),
            QUICK_NO_GAIN if quick else NO_GAIN,
            drop,
        ),
        (
            Comparison(
                "right replies: as it is against edits by a user who does",
                np.stack([plain, known], 1),
                QUICK_GAIN if quick else GAIN,
            ),
        ),
        {
            "strength": strength,
            "informed user by strength, choosing data": {f"{one:g}": value for one, value in tried.items()},
        },
    )


def documents(lm: Any, seed: int, count: int) -> Prepared:
    """Documents that contradict the weights, and a question that names no source."""
    task = Conflict(difficulty=1, wanted="context", seed=seed)
    return prepare(lm, task, task.examples(count), batch=BATCH)


def edited(lm: Any, prepared: Prepared, user: Picks, strength: float, seed: int) -> Units:
    """Right replies with the edits that a user makes of each prompt."""
    return graded(prepared, written(lm, prepared, user, strength, seed))


def written(lm: Any, prepared: Prepared, user: Picks | None = None, strength: float = 1.0, seed: int = 0) -> list[str]:
    """Greedy replies, in the order of the examples."""
    found = [""] * len(prepared)
    settings = {"max_new_tokens": prepared.longest, "do_sample": False}
    for numbers, prompt in prepared.batches:
        if user is None:
            texts = lm.generate(prompt, **settings)
        else:
            picked = [selection(prompt, row, user, strength, seed) for row in range(len(numbers))]
            length = prompt.input_ids.shape[1]
            spans = sc.Spans({PICKED: torch.cat([one.spans(length)[PICKED] for one in picked])})
            with lm.steer(*picked[0].edits(), spans=spans):
                texts = lm.generate(prompt, **settings)
        for number, text in zip(numbers, [texts] if isinstance(texts, str) else texts, strict=True):
            found[number] = text
    return found


def selection(prompt: Any, row: int, user: Picks, strength: float, seed: int) -> Selection:
    """What the browser sends of one prompt of a batch that is padded on the left."""
    real = prompt.attention_mask[row].bool()
    first, length = int((~real).sum()), int(real.sum())
    gold = (prompt.spans["gold"][row].nonzero().flatten() - first).tolist()
    rng = random.Random(f"{seed}/{prompt.plain[row]}")
    tokens = [first + place for place in user(gold, length, rng)]
    sent = json.dumps({"tokens": tokens, "heads": [], "action": "scale", "strength": strength})
    return Selection.of(json.loads(sent))
