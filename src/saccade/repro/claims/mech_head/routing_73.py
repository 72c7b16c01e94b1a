"""[73] Mixture of heads: half of the heads for each token."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from saccade.mechanisms.heads.mixture_of_heads import balance_loss
from saccade.repro.claims.mech_head.shared import HEADS, SIZES, USES, fresh, lines, train_on
from saccade.repro.host import Host, Mixer, Sizes, accuracy, loss
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

RATE, BALANCE, KEPT, BETTER = 6e-3, 0.01, -0.02, 0.0
HALF = HEADS // 2
MODELS = {
    "all": (SIZES, Mixer("softmax")),
    "routed": (SIZES, Mixer("mixture-of-heads", options={"shared": HALF // 2, "active": HALF - HALF // 2})),
    "half": (replace(SIZES, heads=HALF), Mixer("softmax", options={"head_dim": SIZES.dim // HEADS})),
}


def trained(sizes: Sizes, mixer: Mixer, steps: int, seed: int) -> Host:
    """A host; mixtures of heads are kept in balance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Host(sizes, mixer)

    def balance() -> Tensor | float:
        return BALANCE * balance_loss(model) if mixer.name == "mixture-of-heads" else 0.0

    train_on(model, lines, steps, RATE, seed, extra=balance)
    return model


@claim(
    73,
    "a character model that routes each token to four of its eight heads is as accurate as one that uses all eight, "
    "to two percentage points, and at least as accurate as one that has four",
    uses=(*USES, "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on held-out modules; a unit is one training run of all three, on the same data."""
    runs, steps = (3, 80) if quick else (4, 160)
    measure, right, losses = fresh(seed), [], []
    for i in range(runs):
        models = [trained(sizes, mixer, steps, 1000 * seed + i) for sizes, mixer in MODELS.values()]
        right.append([accuracy(model, measure) for model in models])
        losses.append([loss(model, measure) for model in models])
    return Result(
        Comparison("accuracy: half of the heads for each token against all", [row[:2] for row in right], KEPT),
        (Comparison("accuracy: against a model with half of the heads", [row[:0:-1] for row in right], BETTER),),
        {"steps": steps, "models": list(MODELS), "losses": losses},
    )
