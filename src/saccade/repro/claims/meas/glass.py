"""A small transformer whose attention and states lie open while it trains, for claims about how models learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """``inputs`` is a number of symbols, or, with ``vectors``, the width of the vectors that are read.

    A ``widening`` of 0 leaves the feed-forward layers out.
    """

    inputs: int
    outputs: int
    length: int
    dim: int = 64
    layers: int = 2
    heads: int = 1
    widening: int = 4
    causal: bool = True
    vectors: bool = False


@dataclass(frozen=True, eq=False)
class Seen:
    """A run: logits ``[B,N,outputs]``; of each layer the weights ``[B,H,N,N]``; states ``[B,N,dim]``, embedding first.

    Everything carries gradients.
    """

    logits: Tensor
    weights: tuple[Tensor, ...]
    states: tuple[Tensor, ...]


class Layer(nn.Module):
    """x + attention(norm x), then x + ff(norm x)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.norm, self.norm_after = nn.LayerNorm(shape.dim), nn.LayerNorm(shape.dim)
        self.qkv, self.out = nn.Linear(shape.dim, 3 * shape.dim, bias=False), nn.Linear(shape.dim, shape.dim)
        if wide := shape.widening * shape.dim:
            self.forth, self.back = nn.Linear(shape.dim, wide), nn.Linear(wide, shape.dim)

    def forward(self, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """[B,N,dim] -> the same, and the weights."""
        batch, length, dim = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, self.shape.heads, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if bias is not None:
            logits = logits + bias
        if self.shape.causal:
            logits = logits.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf)
        weights = logits.softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, dim))
        if self.shape.widening:
            x = x + self.back(F.gelu(self.forth(self.norm_after(x))))
        return x, weights


class Glass(nn.Module):
    """Embedding with learned positions, layers, norm, logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Linear(shape.inputs, shape.dim) if shape.vectors else nn.Embedding(shape.inputs, shape.dim)
        self.place = nn.Embedding(shape.length, shape.dim)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm, self.head = nn.LayerNorm(shape.dim), nn.Linear(shape.dim, shape.outputs, bias=False)

    def forward(self, inputs: Tensor, bias: Tensor | None = None) -> Seen:
        """Symbols [B,N], or vectors [B,N,inputs]; ``bias`` is added to the logits of attention of every layer."""
        states = [self.embed(inputs) + self.place.weight[: inputs.shape[1]]]
        weights = []
        for layer in self.layers:
            x, seen = layer(states[-1], bias)
            states.append(x)
            weights.append(seen)
        return Seen(self.head(self.norm(states[-1])), tuple(weights), tuple(states))


def made(shape: Shape, seed: int) -> Glass:
    """A model with the initial weights that follow from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Glass(shape)


def training(
    model: Glass, loss: Callable[[Glass, torch.Generator], Tensor], steps: int, rate: float, seed: int
) -> Iterator[int]:
    """Train with AdamW at a constant rate; yields the number of steps taken, before the first and after each."""
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    yield 0
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        loss(model, draw).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        yield step
