"""[76] CoPE: positions that count what matters."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, Draw, data, host, right, trained
from saccade.repro.host import IGNORED, Batch, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

SYMBOLS, ALPHABET = 6, 6
TRAINED, SPARSE, DENSE = (4, 12), 36, 0
"""Blanks among the symbols: fewest and most in training, and what is asked afterwards."""
BAR = 0.2
BLANK, COPY = 0, 1


def copying(blanks: int, rows: int = 48) -> Draw:
    """Selective copy: symbols among blanks, a sign, then the symbols in their order, which are to be foretold."""

    def draw(generator: torch.Generator) -> Batch:
        total = SYMBOLS + blanks
        place = torch.rand(rows, total, generator=generator).argsort(-1)[:, :SYMBOLS].sort(-1).values
        chosen = torch.randint(2, 2 + ALPHABET, (rows, SYMBOLS), generator=generator)
        line = torch.full((rows, total), BLANK).scatter(1, place, chosen)
        tokens = torch.cat([line, torch.full((rows, 1), COPY), chosen], dim=1)
        wanted = torch.cat([torch.full((rows, total), IGNORED), chosen], dim=1)
        return tokens[:, :-1], wanted

    return draw


def training(generator: torch.Generator) -> Batch:
    """Any number of blanks between the fewest and the most."""
    few, many = TRAINED
    return copying(int(torch.randint(few, many + 1, (1,), generator=generator)))(generator)


@claim(
    76,
    "with positions that count by content one layer copies symbols among blanks where blanks are three times as many "
    "as in training, or missing; with rotary positions it does not",
    uses=USES,
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy of the copied symbols after the same training; a unit is a training run of both, on the same data."""
    runs, steps = 3, 120 if quick else 250
    sizes = Sizes(2 + ALPHABET, dim=32, heads=2, layers=1)
    makes = {"rotary": host(sizes, "rotary"), "contextual": host(sizes, "cope", count=2 * SYMBOLS + 2)}
    models, rates = trained(makes, training, steps, RATES, runs, seed)
    found: Mapping[int, list[list[float]]] = {
        blanks: [[right(m, data(copying(blanks, 256), MEASURED + seed)) for m in pair.values()] for pair in models]
        for blanks in (SPARSE, DENSE, TRAINED[1])
    }
    return Result(
        Comparison(f"symbols copied among {SPARSE} blanks", found[SPARSE], BAR),
        (Comparison("symbols copied with no blanks", found[DENSE], BAR),),
        {"steps": steps, "rates": rates, "accuracy by blanks": found},
    )
