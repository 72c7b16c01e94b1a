"""[48] Optimised, efficient and super attention: fewer parameters at the same accuracy."""

from __future__ import annotations

from torch import nn

from saccade.repro.claims.mech_expr.digits import PATCHES, USES, Vision, split
from saccade.repro.claims.mech_pos.shared import fitted, right
from saccade.repro.host import Mixer
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import saving

RATE, BAR, SAME = 3e-3, 0.0, -0.02
MIXERS = {
    "standard": Mixer("softmax", None),
    "optimised": Mixer("optimised", None),
    "efficient": Mixer("keyless", None),
    "super": Mixer("super", None, {"length": PATCHES}),
}
FEWER = {"optimised": 4 / 3, "efficient": 2.0, "super": 4 / 3}
"""How many times fewer parameters attention has at least; super attention pays for tokens by tokens beside."""


def parameters(model: nn.Module) -> float:
    """Of attention alone."""
    return float(sum(p.numel() for block in model.blocks for p in block.mix.parameters()))


@claim(
    48,
    "on images of digits, super attention is more accurate than standard attention with fewer parameters; optimised "
    "attention with three quarters of them and efficient attention with half are as accurate, to two points",
    uses=(
        *USES,
        "saccade.mechanisms.expressive.optimised",
        "saccade.mechanisms.expressive.keyless",
        "saccade.mechanisms.baseline.softmax",
    ),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on images left out of training; a unit is a training run of all four, on the same images."""
    runs, steps = (2, 200) if quick else (5, 300)
    found, sizes = [], []
    for number in range(1000 * seed, 1000 * seed + runs):
        draw, others = split(number)
        models = {
            name: fitted(lambda mixer=mixer: Vision(mixer, 1), draw, steps, RATE, number)
            for name, mixer in MIXERS.items()
        }
        found.append({name: right(model, others) for name, model in models.items()})
        sizes.append({name: parameters(model) for name, model in models.items()})

    def accuracy(name: str, bar: float) -> Comparison:
        return Comparison(f"accuracy, {name} attention", [[x["standard"], x[name]] for x in found], bar)

    def cost(name: str, bar: float) -> Comparison:
        return Comparison(f"parameters, {name} attention", [[x["standard"], x[name]] for x in sizes], bar, saving)

    return Result(
        accuracy("super", BAR),
        (
            accuracy("optimised", SAME),
            accuracy("efficient", SAME),
            *(cost(name, round(bar, 3)) for name, bar in FEWER.items()),
        ),
        {"steps": steps, "accuracies": found},
    )
