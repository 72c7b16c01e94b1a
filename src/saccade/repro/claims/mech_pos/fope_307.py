"""[307] FoPE: Fourier series without slow frequencies extrapolate."""

from __future__ import annotations

from saccade.repro.claims.mech_pos.extrapolation import LENGTH, SIZES, USES, longer
from saccade.repro.claims.mech_pos.shared import USES as SHARED
from saccade.repro.claims.mech_pos.shared import host
from saccade.repro.registry import claim
from saccade.repro.result import Result

BAR, COST = 0.1, 0.2


@claim(
    307,
    "with Fourier position embedding a small model of source code keeps a lower loss at 8 times the length of training "
    "than with rotary positions, at little cost at that length",
    uses=(*SHARED, *USES),
)
def run(quick: bool, seed: int) -> Result:
    """FoPE against rotary positions, both trained on the same pieces; FoPE knows the length of training."""
    return longer(host(SIZES, "rotary"), host(SIZES, "fope", trained=LENGTH), BAR, COST, quick, seed)
