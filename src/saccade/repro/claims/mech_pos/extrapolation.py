"""What claims about longer texts share: loss far beyond the length of training."""

from __future__ import annotations

from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, Make, characters, data, nats, trained
from saccade.repro.host import Sizes
from saccade.repro.result import Comparison, Result
from saccade.repro.source import SYMBOLS
from saccade.repro.statistics import drop

LENGTH = 48
FACTORS = (1, 4, 8)
SIZES = Sizes(SYMBOLS, dim=32, heads=2)
USES = ("saccade.repro.claims.mech_pos.extrapolation",)


def longer(baseline: Make, method: Make, bar: float, cost: float, quick: bool, seed: int) -> Result:
    """Two schemes trained on pieces of ``LENGTH`` characters and read on longer ones, held-out modules.

    At each multiple of the length, the loss of the characters beyond half of it. ``bar`` is the least drop of loss at
    the longest, ``cost`` the most that loss at the length of training may rise. A unit is a training run of both.
    """
    runs, steps = 2 if quick else 3, 240
    kinds = {"rotary": baseline, "method": method}
    models, rates = trained(kinds, characters(LENGTH), steps, RATES, runs, seed)
    losses = {}
    for factor in FACTORS:
        rows = (128 if quick else 256) // factor
        fresh = data(characters(factor * LENGTH, rows, held=True), MEASURED + seed)
        losses[factor] = [[nats(pair[kind], fresh, after=factor * LENGTH // 2) for kind in kinds] for pair in models]
    return Result(
        Comparison(f"nats a character at {FACTORS[-1]} times the length of training", losses[FACTORS[-1]], bar, drop),
        (Comparison("nats a character at the length of training", losses[1], -cost, drop),),
        {"steps": steps, "rates": rates, "losses by multiple of the length": losses},
    )
