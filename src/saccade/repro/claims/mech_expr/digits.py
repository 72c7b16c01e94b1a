"""What claims about images share: handwritten digits in patches, and a small vision transformer that reads them."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from saccade.repro.claims.mech_pos.shared import Draw
from saccade.repro.host import Batch, Host, Mixer, Sizes

PATCHES, PIXELS, CLASSES, TRAINING, ROWS = 16, 4, 10, 1000, 64
USES = ("saccade.repro.host", "saccade.repro.claims.mech_pos.shared", "saccade.repro.claims.mech_expr.digits")


@cache
def images() -> Batch:
    """1,797 images of 8 by 8 pixels as patches of 2 by 2 [N,PATCHES,PIXELS], and their digits [N,1]."""
    found = load_digits()
    pixels = torch.tensor(found.images, dtype=torch.float32) / 16
    return pixels.unfold(1, 2, 2).unfold(2, 2, 2).reshape(-1, PATCHES, PIXELS), torch.tensor(found.target)[:, None]


def split(seed: int) -> tuple[Draw, Batch]:
    """Batches of ``TRAINING`` images, and all the others."""
    patches, digits = images()
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    training, others = order[:TRAINING], order[TRAINING:]

    def draw(generator: torch.Generator) -> Batch:
        rows = training[torch.randint(TRAINING, (ROWS,), generator=generator)]
        return patches[rows], digits[rows]

    return draw, (patches[others], digits[others])


class Vision(Host):
    """A host of patches with a learned vector for each place, whose tokens vote for the class together."""

    def __init__(self, mixer: Mixer, layers: int) -> None:
        super().__init__(Sizes(CLASSES, dim=32, layers=layers, causal=False), mixer)
        self.add_module("embed", nn.Linear(PIXELS, 32))
        self.places = nn.Parameter(torch.randn(PATCHES, 32) / 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Patches [B,PATCHES,PIXELS] -> logits [B,1,CLASSES]."""
        x = self.embed(tokens) + self.places
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x).mean(dim=1, keepdim=True))
        return logits
