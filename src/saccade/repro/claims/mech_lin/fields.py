"""Models that map a field of numbers to another, trained on a mean error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saccade.mechanisms import Mechanism, mechanism
from saccade.repro.host import Host, Mixer, Sizes

USES = ("saccade.repro.host", "saccade.repro.claims.mech_lin.fields")
Pairs = tuple[Tensor, Tensor]
"""What is given at each point [B,N,channels], and what is to be found there [B,N]."""
Draw = Callable[[torch.Generator], Pairs]
Error = Callable[[Tensor, Tensor], Tensor]
Make = Callable[[], nn.Module]


class Field(Host):
    """A host whose points carry ``channels`` numbers and give one; ``places`` of them have a learned vector each."""

    def __init__(
        self, sizes: Sizes, kind: str | type[Mechanism], channels: int, places: int = 0, **options: Any
    ) -> None:
        super().__init__(sizes, Mixer("softmax", None))
        for block in self.blocks:
            block.mix = mechanism(kind, sizes.dim, sizes.heads, **options)
        self.lift = nn.Linear(channels, sizes.dim)
        self.places = nn.Parameter(torch.randn(places, sizes.dim)) if places else None

    def forward(self, field: Tensor) -> Tensor:
        """Points [B,N,channels] -> [B,N]."""
        x = self.lift(field)
        x = x if self.places is None else x + self.places
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.head(self.norm(x))[..., 0]
        return y


def solved(make: Make, draw: Draw, error: Error, steps: int, rate: float, seed: int) -> nn.Module:
    """A model trained with AdamW, warm-up and cosine decay; everything follows from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    generator, warm = torch.Generator().manual_seed(seed), max(steps // 20, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * i / steps))
    )
    for _ in range(steps):
        given, wanted = draw(generator)
        error(model(given), wanted).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    return model.eval()


def relative(found: Tensor, wanted: Tensor) -> Tensor:
    """‖found − wanted‖ / ‖wanted‖ over the points, a mean over the batch."""
    ratio: Tensor = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    return ratio.mean()


def squared(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error."""
    return (found - wanted).square().mean()
