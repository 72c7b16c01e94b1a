"""[95] CoCA: keys collinear with the query extrapolate."""

from __future__ import annotations

from saccade.repro.claims.mech_pos.extrapolation import SIZES, USES, longer
from saccade.repro.claims.mech_pos.shared import USES as SHARED
from saccade.repro.claims.mech_pos.shared import host
from saccade.repro.registry import claim
from saccade.repro.result import Result

BAR, COST = 0.05, 0.2


@claim(
    95,
    "with keys collinear to the query a small model of source code keeps a lower loss at 8 times the length of "
    "training than with rotary positions, at little cost at that length",
    uses=(*SHARED, *USES),
)
def run(quick: bool, seed: int) -> Result:
    """CoCA against rotary positions, both trained on the same pieces."""
    return longer(host(SIZES, "rotary"), host(SIZES, "coca"), BAR, COST, quick, seed)
