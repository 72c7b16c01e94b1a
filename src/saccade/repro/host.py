"""A plain small transformer whose attention is any mechanism, and its training: what claims about mechanisms share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import mechanism

IGNORED = -100
TUNING = 2**31 - 1
"""Seed of runs that choose a learning rate; no measured run has it."""
Batch = tuple[Tensor, Tensor]
"""Tokens [B,N] and what each position has to foretell [B,N], ``IGNORED`` where nothing."""


@dataclass(frozen=True)
class Sizes:
    """Of a host: ``vocabulary`` tokens, ``dim`` wide, ``layers`` of ``heads`` heads, a feed-forward ``widening``.

    Tokens see those before them where it is ``causal``, else all.
    """

    vocabulary: int
    dim: int = 64
    layers: int = 2
    heads: int = 4
    widening: int = 2
    causal: bool = True


@dataclass(frozen=True)
class Mixer:
    """Which mechanism stands in the layers, with its positions and options."""

    name: str = "softmax"
    positions: str | None = "rotary"
    options: Mapping[str, Any] = field(default_factory=dict)


class Block(nn.Module):
    """x + mix(norm x), then x + ff(norm x)."""

    def __init__(self, sizes: Sizes, mixer: Mixer) -> None:
        super().__init__()
        wide, self.causal = sizes.widening * sizes.dim, sizes.causal
        self.norm, self.norm_after = nn.LayerNorm(sizes.dim), nn.LayerNorm(sizes.dim)
        self.mix = mechanism(mixer.name, sizes.dim, sizes.heads, positions=mixer.positions, **mixer.options)
        self.forth, self.back = nn.Linear(sizes.dim, wide), nn.Linear(wide, sizes.dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B,N,dim] -> [B,N,dim]."""
        x = x + self.mix(self.norm(x), causal=self.causal)
        wide: Tensor = self.back(F.gelu(self.forth(self.norm_after(x))))
        return x + wide


class Host(nn.Module):
    """Embedding, blocks, norm, logits."""

    def __init__(self, sizes: Sizes, mixer: Mixer) -> None:
        super().__init__()
        self.embed = nn.Embedding(sizes.vocabulary, sizes.dim)
        self.blocks = nn.ModuleList(Block(sizes, mixer) for _ in range(sizes.layers))
        self.norm, self.head = nn.LayerNorm(sizes.dim), nn.Linear(sizes.dim, sizes.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N] -> logits [B,N,vocabulary]."""
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def train(
    sizes: Sizes, mixer: Mixer, batch: Callable[[torch.Generator], Batch], steps: int, rate: float, seed: int
) -> Host:
    """A host trained with AdamW, warm-up and cosine decay; everything follows from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Host(sizes, mixer)
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * i / steps))
    )
    for _ in range(steps):
        tokens, wanted = batch(draw)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: Host, data: Batch) -> float:
    """Share of the positions to be foretold that are."""
    tokens, wanted = data
    asked = wanted != IGNORED
    return float((model(tokens).argmax(-1) == wanted)[asked].double().mean())


@torch.no_grad()
def loss(model: Host, data: Batch) -> float:
    """Mean cross-entropy of the positions to be foretold, in nats."""
    tokens, wanted = data
    return F.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten(), ignore_index=IGNORED).item()


def best_rate(
    sizes: Sizes,
    mixer: Mixer,
    batch: Callable[[torch.Generator], Batch],
    steps: int,
    rates: tuple[float, ...],
    held: Batch,
) -> float:
    """The learning rate with the lowest loss on ``held``, which must not be the data that measures."""
    if len(rates) == 1:
        return rates[0]
    return min(rates, key=lambda rate: loss(train(sizes, mixer, batch, steps, rate, seed=TUNING), held))
