"""[126] Context broadcasting: uniform attention beside learned attention."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.repro.claims.mech_expr.digits import USES, Vision, split
from saccade.repro.claims.mech_pos.shared import fitted, nats, right
from saccade.repro.host import Mixer
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop

RATE, LAYERS, BAR, BETTER = 3e-3, 2, 0.0, 0.0
NAMES = ("softmax", "context-broadcasting")


@torch.no_grad()
def density(model: Vision, patches: Tensor) -> float:
    """Mean entropy in nats of the learned attention of all layers, heads and patches."""
    x, found = model.embed(patches) + model.places, []
    for block in model.blocks:
        heads = block.mix.shape.heads
        normed = block.norm(x)
        q, k = (p(normed).unflatten(-1, (heads, -1)).transpose(1, 2) for p in (block.mix.q, block.mix.k))
        found.append(torch.distributions.Categorical(logits=q @ k.mT / q.shape[-1] ** 0.5).entropy().mean())
        x = block(x)
    return torch.stack(found).mean().item()


@claim(
    126,
    "a small vision transformer with uniform attention in each layer learns attention of lower density, and reads "
    "digits with a lower loss",
    uses=(*USES, "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Entropy of attention and loss on images left out of training; a unit is a training run of both."""
    runs, steps = (2, 200) if quick else (5, 300)
    dense, losses, accuracies = [], [], []
    for number in range(1000 * seed, 1000 * seed + runs):
        draw, others = split(number)
        models = [
            fitted(lambda name=name: Vision(Mixer(name, None), LAYERS), draw, steps, RATE, number) for name in NAMES
        ]
        dense.append([density(model, others[0]) for model in models])
        losses.append([nats(model, others) for model in models])
        accuracies.append([right(model, others) for model in models])
    return Result(
        Comparison("mean entropy of attention in nats", dense, BAR, drop),
        (Comparison("nats an image, left out of training", losses, BETTER, drop),),
        {"steps": steps, "accuracies": accuracies},
    )
