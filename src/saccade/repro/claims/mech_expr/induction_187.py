"""[187] KV shifting: induction in one layer."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.repro.host import IGNORED, Batch, Mixer, Sizes, accuracy, best_rate, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

ALPHABET, LENGTH, ROWS, BAR = 48, 40, 64, 0.5
SHORTEST, LONGEST = 16, 24
SIZES = Sizes(vocabulary=ALPHABET, layers=1)
MIXERS = {"baseline": Mixer("softmax"), "method": Mixer("kv-shifting")}


def repeated(generator: torch.Generator, rows: int = ROWS) -> Batch:
    """Distinct random symbols, then a piece of them again; all of the piece but its first symbol can be foretold.

    How many come first and where the piece begins are drawn for each row, so that no fixed distance leads back.
    """
    symbols = torch.rand(rows, ALPHABET, generator=generator).argsort(-1)
    first = torch.randint(SHORTEST, LONGEST + 1, (rows, 1), generator=generator)
    start = (torch.rand(rows, 1, generator=generator) * first).long()
    place = torch.arange(LENGTH)
    back = start + place - first
    line = symbols.gather(1, torch.where(place < first, place, back % first))
    known: Tensor = (place > first) & (back < first)
    return line[:, :-1], line.masked_fill(~known, IGNORED)[:, 1:]


@claim(
    187,
    "one layer with KV shifting learns induction, one softmax layer of the same size does not",
    uses=("saccade.repro.host", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on repeated sequences after the same training; a unit is one training run of both, on the same data."""
    runs, steps = (3, 250) if quick else (6, 600)
    rates = (1e-2,) if quick else (3e-3, 1e-2)
    tuning = repeated(torch.Generator().manual_seed(2**30), 512)
    fresh = repeated(torch.Generator().manual_seed(2**30 + 1 + seed), 1024)
    chosen = {name: best_rate(SIZES, mixer, repeated, steps, rates, tuning) for name, mixer in MIXERS.items()}
    units = [
        [accuracy(train(SIZES, MIXERS[name], repeated, steps, chosen[name], 1000 * seed + i), fresh) for name in MIXERS]
        for i in range(runs)
    ]
    details = {"steps": steps, "rates": chosen, "accuracies": units}
    return Result(Comparison("accuracy on repeated symbols, one layer", units, BAR), details=details)
