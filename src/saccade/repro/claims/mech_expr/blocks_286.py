"""[286] Multi-token attention: the block that holds all the letters asked for."""

from __future__ import annotations

import torch

from saccade.repro.host import IGNORED, Batch, Mixer, Sizes, accuracy, best_rate, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

ALPHABET, SIZE, BLOCKS, ASKED, ROWS, BAR = 16, 4, 5, 2, 16, 0.3
SEPARATOR, QUESTION, ANSWER = ALPHABET, ALPHABET + 1, ALPHABET + 2
SIZES = Sizes(vocabulary=ALPHABET + 3, dim=32, heads=2)
MIXERS = {"baseline": Mixer("softmax"), "method": Mixer("multi-token")}


def blocks(generator: torch.Generator, rows: int = ROWS) -> Batch:
    """Blocks of distinct letters, then two letters; foretell the last letter of the one block that holds both.

    Every other block misses one of the two, drawn at random, and may hold the other.
    """
    own = torch.rand(rows, ALPHABET, generator=generator).argsort(-1)[:, :SIZE]
    asked = own.gather(1, torch.rand(rows, SIZE, generator=generator).argsort(-1)[:, :ASKED])
    missing = asked.gather(1, torch.randint(ASKED, (rows, BLOCKS), generator=generator))
    order = torch.rand(rows, BLOCKS, ALPHABET, generator=generator).scatter(2, missing[..., None], 2.0).argsort(-1)
    place = torch.randint(BLOCKS, (rows, 1, 1), generator=generator).expand(-1, -1, SIZE)
    letters = order[..., :SIZE].scatter(1, place, own[:, None])
    text = torch.cat([torch.full((rows, BLOCKS, 1), SEPARATOR), letters], -1).flatten(1)
    marks = (torch.full((rows, 1), mark) for mark in (QUESTION, ANSWER))
    tokens = torch.cat([text, next(marks), asked, next(marks)], 1)
    wanted = torch.full_like(tokens, IGNORED)
    wanted[:, -1] = own[:, -1]
    return tokens, wanted


@claim(
    286,
    "multi-token attention learns to find the block that holds both letters asked for, where softmax attention of the "
    "same size finds it far less often after the same training",
    uses=("saccade.repro.host", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy of the answer with the paper's kernels; a unit is one training run of both, on the same data."""
    runs, steps = (2, 200) if quick else (3, 300)
    rates = (1e-2,) if quick else (3e-3, 1e-2)
    tuning = blocks(torch.Generator().manual_seed(2**30), 512)
    fresh = blocks(torch.Generator().manual_seed(2**30 + 1 + seed), 2048)
    chosen = {name: best_rate(SIZES, mixer, blocks, steps, rates, tuning) for name, mixer in MIXERS.items()}
    units = [
        [accuracy(train(SIZES, MIXERS[name], blocks, steps, chosen[name], 1000 * seed + i), fresh) for name in MIXERS]
        for i in range(runs)
    ]
    details = {"steps": steps, "rates": chosen, "accuracies": units}
    return Result(Comparison(f"accuracy of the block found among {BLOCKS}", units, BAR), details=details)
