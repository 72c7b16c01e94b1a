"""[189] RCMHA: convolutions and relative positions against multi-head attention."""

from __future__ import annotations

from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, characters, data, host, nats, trained
from saccade.repro.claims.mech_pos.shaw_104 import LENGTH, SIZES, Placed
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop

BAR = 0.1


@claim(
    189,
    "relative positions with depth-wise convolutions give a model of source code a lower loss than multi-head "
    "attention with absolute positions, and convolutions have a part in it",
    uses=(*USES, "saccade.repro.claims.mech_pos.shaw_104"),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules after the same training; a unit is a training run of all, on the same data.

    The model without convolutions has kernels of a single tap and is the same in everything else.
    """
    runs, steps = 3, 75 if quick else 220
    makes = {
        "absolute": Placed,
        "relative": host(SIZES, "rcmha", length=LENGTH, kernel=1),
        "convolved": host(SIZES, "rcmha", length=LENGTH),
    }
    models, rates = trained(makes, characters(LENGTH), steps, RATES, runs, seed)
    fresh = data(characters(LENGTH, 256, held=True), MEASURED + seed)
    losses = [{name: nats(model, fresh) for name, model in one.items()} for one in models]
    return Result(
        Comparison(
            "nats a character: multi-head attention against RCMHA",
            [[x["absolute"], x["convolved"]] for x in losses],
            BAR,
            drop,
        ),
        (
            Comparison(
                "nats a character: RCMHA without convolutions against RCMHA",
                [[x["relative"], x["convolved"]] for x in losses],
                0.0,
                drop,
            ),
        ),
        {"steps": steps, "rates": rates, "losses": losses},
    )
