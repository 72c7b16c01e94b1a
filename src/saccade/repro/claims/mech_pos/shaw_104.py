"""[104] Relative position representations against absolute ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, characters, data, host, nats, trained
from saccade.repro.host import Host, Mixer, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.source import SYMBOLS
from saccade.repro.statistics import drop

LENGTH, BAR = 48, 0.1
SIZES = Sizes(SYMBOLS, dim=32, heads=2)


class Placed(Host):
    """A host without positions in attention, whose embeddings have a learned vector for each place added."""

    def __init__(self, places: int = LENGTH) -> None:
        super().__init__(SIZES, Mixer("softmax", None))
        self.places = nn.Parameter(torch.randn(places, SIZES.dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N] -> logits [B,N,vocabulary]."""
        x = self.embed(tokens) + self.places[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


@claim(
    104,
    "learned vectors for clipped distances give a model of source code a lower loss than learned vectors for absolute "
    "places, and than no positions",
    uses=USES,
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules after the same training; a unit is a training run of all, on the same data."""
    runs, steps = 2 if quick else 3, 220
    makes = {"absolute": Placed, "none": host(SIZES, "softmax"), "relative": host(SIZES, "shaw")}
    models, rates = trained(makes, characters(LENGTH), steps, RATES, runs, seed)
    fresh = data(characters(LENGTH, 256, held=True), MEASURED + seed)
    losses = [{name: nats(model, fresh) for name, model in one.items()} for one in models]
    return Result(
        Comparison(
            "nats a character: absolute against relative", [[x["absolute"], x["relative"]] for x in losses], BAR, drop
        ),
        (
            Comparison(
                "nats a character: none against relative", [[x["none"], x["relative"]] for x in losses], BAR, drop
            ),
        ),
        {"steps": steps, "rates": rates, "losses": losses},
    )
