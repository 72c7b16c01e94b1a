"""[272] Attention matrices are entangled far less than the updates of fine-tuning, and grow more slowly with size."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

import saccade as sc
from saccade import zoo
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.see import trace
from saccade.see.entanglement import entanglement_profile, entropy
from saccade.zoo.coder import sources

SIZES = (32, 64, 128, 256)
RANK, RATE = 4, 1e-3
BAR_GROWTH, BAR_VOLUME, BAR_VALLEY, BAR_HAIR = 0.3, 0.75, 1.0, 0.25


class LowRank(torch.nn.Module):
    """A weight and an update ``B A`` beside it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.randn(RANK, weight.shape[1]) / math.sqrt(weight.shape[1]))
        self.b = torch.nn.Parameter(torch.zeros(weight.shape[0], RANK))

    def forward(self, weight: Tensor) -> Tensor:
        """The sum."""
        return weight + self.b @ self.a


def slopes(entropies: Tensor) -> Tensor:
    """Least-squares growth of entropies ``[..., sizes]`` with the logarithm of the size."""
    x = torch.tensor([math.log(size) for size in SIZES], dtype=torch.float64)
    x = x - x.mean()
    return (entropies * x).sum(-1) / x.square().sum()


def behind(units: Units) -> tuple[float, float, float]:
    """Growth of a random matrix, of attention, and how much less the latter is."""
    volume, attention = units.mean(0)
    return float(volume), float(attention), float(volume - attention)


@claim(
    272,
    "the entropy of attention between its rows and columns grows with the logarithm of the length by 0.3 less than a "
    "volume law; updates of query and value projections follow it by three quarters; the valley that a low rank makes "
    "in "
    "them does not show in attention",
    uses=("saccade.see.entanglement", "saccade.see.trace", "zoo:coder"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `coder` and held-out source; a unit of attention is a file, mean over all heads of all layers.

    The volume law is that of a random matrix of normal numbers. Updates are those of a few steps of Adam on other
    files, of all parameters and of a low rank; a unit is one projection of one layer. Their volume is the mean over
    the bonds of entropy over the logarithm of the smaller part; the valley is the entropy that the low rank takes
    from the middle bond. Attention after both kinds of tuning is compared file by file.
    """
    files, steps = (4, 4) if quick else (10, 6)
    model, tokenizer = zoo.load("coder")
    texts = [text for text in sources()[1] if len(text) > 4000]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = [tokenizer(texts[i][:4000])["input_ids"] for i in order]
    fresh, teach = (torch.tensor([row[: SIZES[-1]] for row in some]) for some in (rows[:files], rows[-8:]))
    generator = torch.Generator().manual_seed(seed)
    noise = [entropy(torch.randn(files, size, size, generator=generator)) for size in SIZES]
    volume = slopes(torch.stack(noise, -1))
    attention = torch.stack([mean_entropy(model, fresh[:, :size]) for size in SIZES], -1)
    tuned = {name: tune(model, teach, steps, name == "low rank", seed) for name in ("whole", "low rank")}
    updates = {
        name: [new - old for old, new in zip(weights(model), weights(one), strict=True)] for name, one in tuned.items()
    }
    after = {name: mean_entropy(one, fresh).numpy() for name, one in tuned.items()}
    filled, middle = {}, {}
    for name, some in updates.items():
        profiles = [entanglement_profile(update) for update in some]
        filled[name] = np.array([float((entropies / room).mean()) for entropies, room in profiles])
        middle[name] = np.array([float(entropy(update)) for update in some])
    nothing = np.zeros(len(filled["whole"]))
    return Result(
        Comparison(
            "growth of the entropy with log length: attention against random matrices",
            np.stack([volume.numpy(), slopes(attention).numpy()], 1),
            BAR_GROWTH,
            behind,
        ),
        (
            Comparison("share of a volume law in updates", np.stack([nothing, filled["whole"]], 1), BAR_VOLUME),
            Comparison(
                "entropy of the middle bond of updates in nats: low rank against whole",
                np.stack([middle["low rank"], middle["whole"]], 1),
                BAR_VALLEY,
            ),
            Comparison(
                "difference of the entropy of attention in nats between both kinds of tuning, below the bar",
                np.stack([np.abs(after["whole"] - after["low rank"]), np.full(files, BAR_HAIR)], 1),
                0.0,
            ),
        ),
        {
            "entropy of attention by length": [round(x, 3) for x in attention.mean(0).tolist()],
            "of random matrices": [round(float(one.mean()), 3) for one in noise],
            "of attention after tuning": {name: round(float(one.mean()), 3) for name, one in after.items()},
            "share of a volume law in low-rank updates": round(float(filled["low rank"].mean()), 3),
            "middle bond of updates": {name: round(float(one.mean()), 3) for name, one in middle.items()},
        },
    )


def mean_entropy(model: Any, ids: Tensor) -> Tensor:
    """Entropy of attention between rows and columns by sample, mean over heads and layers ``[B]``."""
    with sc.attach(model) as lm:
        steps = trace(lm, input_ids=ids).stack()
        found = [entropy(step.rows(list(range(ids.shape[1])))).mean(1) for step in steps]
    return torch.stack(found).mean(0)


def weights(model: Any) -> list[Tensor]:
    """The query and value projections of all layers."""
    layers = model.model.layers
    return [one.weight.detach().clone() for layer in layers for one in (layer.self_attn.q_proj, layer.self_attn.v_proj)]


def tune(model: Any, ids: Tensor, steps: int, low_rank: bool, seed: int) -> Any:
    """A copy, tuned on these files by all its parameters or by a low rank of the query and value projections."""
    one = copy.deepcopy(model)
    chosen = list(one.parameters())
    if low_rank:
        torch.manual_seed(seed)
        chosen = []
        for layer in one.model.layers:
            for linear in (layer.self_attn.q_proj, layer.self_attn.v_proj):
                part = LowRank(linear.weight)
                parametrize.register_parametrization(linear, "weight", part)
                chosen += list(part.parameters())
    optimiser = torch.optim.Adam(chosen, lr=RATE)
    for step in range(steps):
        some = ids[2 * step % len(ids) :][:2]
        one.zero_grad()
        one(input_ids=some, labels=some).loss.backward()
        optimiser.step()
    return one
