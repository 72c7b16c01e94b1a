"""[254] Complex multi-head attention against rotary positions."""

from __future__ import annotations

from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, characters, data, host, nats, trained
from saccade.repro.host import Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.source import SYMBOLS
from saccade.repro.statistics import drop

LENGTH, BAR = 48, 0.0
SIZES = Sizes(SYMBOLS, dim=32, heads=2)


@claim(
    254,
    "angles of content that each head scales and shifts give a model of source code a lower loss than rotary positions",
    uses=USES,
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules after the same training; a unit is a training run of both, on the same data."""
    runs, steps = (4, 90) if quick else (5, 220)
    makes = {"rotary": host(SIZES, "rotary"), "complex": host(SIZES, "complex")}
    models, rates = trained(makes, characters(LENGTH), steps, RATES, runs, seed)
    fresh = data(characters(LENGTH, 256, held=True), MEASURED + seed)
    losses = [[nats(model, fresh) for model in pair.values()] for pair in models]
    return Result(
        Comparison("nats a character on held-out modules", losses, BAR, drop), details={"steps": steps, "rates": rates}
    )
