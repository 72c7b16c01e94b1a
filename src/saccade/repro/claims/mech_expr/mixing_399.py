"""[399] Deconstructing attention: mixing tokens is what cannot be left out."""

from __future__ import annotations

import torch

from saccade.repro.host import Batch, Mixer, Sizes, best_rate, loss, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.source import SYMBOLS, pieces
from saccade.repro.statistics import Units, drop

LENGTH, ROWS, BAR, CLOSED = 48, 24, 0.2, 0.5
SIZES = Sizes(vocabulary=SYMBOLS, dim=32)
MIXERS = {
    "none": Mixer("gated-mlp", positions=None),
    "polynomial": Mixer("approximate"),
    "softmax": Mixer("softmax"),
}


def lines(generator: torch.Generator, rows: int = ROWS, held: bool = False) -> Batch:
    """Pieces of source code, each character to be foretold from those before."""
    piece = pieces(generator, rows, LENGTH + 1, held)
    return piece[:, :-1], piece[:, 1:]


@claim(
    399,
    "a character model of source code without mixing of tokens stays far behind softmax attention, and mixing with a "
    "polynomial in place of the exponential closes at least half of the gap",
    uses=(
        "saccade.repro.host",
        "saccade.repro.source",
        "saccade.mechanisms.expressive.gated_mlp",
        "saccade.mechanisms.baseline.softmax",
    ),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules after the same training; a unit is one training run of all three, on the same data."""
    runs, steps = (3, 320) if quick else (4, 500)
    rates = (1e-2,) if quick else (4e-3, 1e-2)
    tuning = lines(torch.Generator().manual_seed(2**30), 256)
    fresh = lines(torch.Generator().manual_seed(2**30 + 1 + seed), 512, held=True)
    chosen = {name: best_rate(SIZES, mixer, lines, steps, rates, tuning) for name, mixer in MIXERS.items()}
    units = [
        [loss(train(SIZES, MIXERS[name], lines, steps, chosen[name], 1000 * seed + i), fresh) for name in MIXERS]
        for i in range(runs)
    ]
    ends = [[row[0], row[2]] for row in units]
    return Result(
        Comparison("nats a character on held-out modules: no mixing against softmax", ends, BAR, drop),
        (Comparison("share of that gap closed by polynomial mixing", units, CLOSED, closed),),
        {"steps": steps, "rates": chosen, "losses": units},
    )


def closed(units: Units) -> tuple[float, float, float]:
    """Losses without mixing and with the method, and the share of the gap from the former to softmax (column 2)."""
    without, method, softmax = units.mean(0).tolist()
    return without, method, (without - method) / (without - softmax)
