"""[57] Neural attention: a network as the score sees relations that dot products do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import mechanism
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, Draw, characters, data, fitted, nats, right
from saccade.repro.host import IGNORED, Batch, Host, Mixer, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.source import SYMBOLS
from saccade.repro.statistics import drop

TOKENS, VALUES, DISTANCE, DIM, RATE = 6, 4, 0.5, 16, 3e-2
LENGTH = 48
SIZES = Sizes(SYMBOLS, dim=32, heads=2)
NAMES = ("softmax", "neural")
BAR, LOWER = 0.15, 0.0


class Choosing(nn.Module):
    """One head of a mechanism between two linear maps."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.embed = nn.Linear(2 + VALUES, DIM)
        self.mix = mechanism(name, DIM, 1, positions=None)
        self.head = nn.Linear(DIM, VALUES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N,2+VALUES] -> logits [B,N,VALUES]."""
        logits: Tensor = self.head(self.mix(self.embed(tokens)))
        return logits


class Placed(Host):
    """A host whose embeddings have a learned vector for each place added."""

    def __init__(self, name: str) -> None:
        super().__init__(SIZES, Mixer(name, None))
        self.places = nn.Parameter(torch.randn(LENGTH, SIZES.dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N] -> logits [B,N,vocabulary]."""
        x = self.embed(tokens) + self.places[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def apart(rows: int = 64) -> Draw:
    """Points with values, then a point that asks for the value of the one whose distance is nearest ``DISTANCE``.

    A dot product of points is linear in either of them; this relation has a maximum on both sides of the one that asks.
    """

    def draw(generator: torch.Generator) -> Batch:
        points, asking = (torch.rand(rows, n, generator=generator) * 2 - 1 for n in (TOKENS, 1))
        values = torch.randint(VALUES, (rows, TOKENS), generator=generator)
        chosen = ((points - asking).abs() - DISTANCE).abs().argmin(dim=-1, keepdim=True)
        told = torch.cat([points[..., None], torch.zeros(rows, TOKENS, 1), F.one_hot(values, VALUES)], dim=-1)
        asked = F.pad(torch.stack([asking, torch.ones(rows, 1)], dim=-1), (0, VALUES))
        wanted = F.pad(values.gather(1, chosen), (TOKENS, 0), value=IGNORED)
        return torch.cat([told, asked], dim=1), wanted

    return draw


@claim(
    57,
    "with a small network as its score one head finds the token at a given distance from the one that asks, which dot "
    "products miss, and a model of source code with learned places has a lower loss with it",
    uses=(*USES, "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on fresh points, and loss on held-out modules, after the same training; a unit is a run of both.

    The quick form leaves the model of source code out.
    """
    runs, steps, reading = (2, 500, 0) if quick else (3, 600, 200)
    points = data(apart(4000), MEASURED + seed)
    text = data(characters(LENGTH, 256, held=True), MEASURED + seed)
    numbers = range(1000 * seed, 1000 * seed + runs)
    found = [
        [right(fitted(lambda name=name: Choosing(name), apart(), steps, RATE, number), points) for name in NAMES]
        for number in numbers
    ]
    losses = [
        [
            nats(fitted(lambda name=name: Placed(name), characters(LENGTH), reading, RATES[0], number), text)
            for name in NAMES
        ]
        for number in (numbers if reading else ())
    ]
    also = [Comparison("nats a character on held-out modules", losses, LOWER, drop)] if reading else []
    return Result(
        Comparison("accuracy: the token at a distance", found, BAR),
        tuple(also),
        {"steps": [steps, reading], "accuracies": found, "losses": losses},
    )
