"""[388] SambaY: gated memory units in place of half of the cross-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import QKV, Shape, build, mechanism, merge_heads, split_heads
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, characters, data, nats, trained
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.source import SYMBOLS
from saccade.repro.statistics import drop, saving
from saccade.testing import counted

LENGTH, WORSE, WORK_BAR = 48, 0.05, 1.7
SHAPE = Shape(32, 2)


class Shared(nn.Module):
    """Differential attention to keys and values that an earlier layer has left: only queries are projected."""

    def __init__(self, shape: Shape = SHAPE) -> None:
        super().__init__()
        self.q, self.out = (nn.Linear(shape.dim, shape.dim, bias=False) for _ in range(2))
        inner = build("differential", shape, depth=2)
        assert isinstance(inner, QKV)
        self.inner, self.width = inner, shape.head_dim

    def forward(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """x [B,Q,dim], k and v [B,H,K,D]."""
        y: Tensor = self.out(merge_heads(self.inner(split_heads(self.q(x), self.width), k, v, causal=True, cross=True)))
        return y


class Decoder(nn.Module):
    """A self-decoder (a recurrent layer, then one with keys and values to share) and a cross-decoder of four layers.

    The cross-decoder attends to the shared keys and values in all four (YOCO), or in two of them, and gates the memory
    of the recurrent layer in the others (SambaY).
    """

    def __init__(self, units: bool) -> None:
        super().__init__()
        dim = SHAPE.dim
        self.embed, self.head = nn.Embedding(SYMBOLS, dim), nn.Linear(dim, SYMBOLS, bias=False)
        self.recur = mechanism("lightning", dim, SHAPE.heads)
        self.keys, self.values = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        kinds = [units, False] * 2
        self.cross = nn.ModuleList(mechanism("gmu", dim, SHAPE.heads) if unit else Shared() for unit in [False, *kinds])
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(9))
        self.forth = nn.ModuleList(nn.Linear(dim, 2 * dim) for _ in range(3))
        self.back = nn.ModuleList(nn.Linear(2 * dim, dim) for _ in range(3))
        self.units = [False, *kinds]

    def wide(self, x: Tensor, layer: int) -> Tensor:
        """One of three feed-forward layers."""
        y: Tensor = x + self.back[layer](F.gelu(self.forth[layer](self.norms[6 + layer](x))))
        return y

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N] -> logits [B,N,vocabulary]."""
        x = self.embed(tokens)
        memory = self.recur(self.norms[0](x))
        x = self.wide(x + memory, 0)
        k, v = (split_heads(p(x), SHAPE.head_dim) for p in (self.keys, self.values))
        for i, (layer, unit) in enumerate(zip(self.cross, self.units, strict=True)):
            y = self.norms[1 + i](x)
            x = x + (layer(y, memory) if unit else layer(y, k, v))
            x = self.wide(x, 1 + i // 3) if i in (0, 4) else x
        logits: Tensor = self.head(x)
        return logits


def work(dim: int, length: int) -> list[float]:
    """Operations of the four layers of either cross-decoder for one new token, ``length`` tokens being remembered."""
    shape = Shape(dim, 2)
    x, k, v = torch.zeros(1, 1, dim), *(torch.zeros(1, 2, length, dim // 2) for _ in range(2))
    attention, unit = Shared(shape), mechanism("gmu", dim, 2)
    one, other = (float(counted(step).flops) for step in (lambda: attention(x, k, v), lambda: unit(x, x)))
    return [4 * one, 2 * one + 2 * other]


@claim(
    388,
    "gated memory units in place of half of the cross-attention to a shared cache leave the loss of a model of source "
    "code where it was, and halve the work of that part of the decoder",
    uses=(*USES, "saccade.mechanisms.expressive.differential", "saccade.mechanisms.linear.lightning"),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules after the same training, and counted work of a decoding step.

    Units: of loss a training run of both on the same data, of work a width.
    """
    runs, steps = 3, 50 if quick else 200
    makes = {"all attend": lambda: Decoder(units=False), "half are units": lambda: Decoder(units=True)}
    models, rates = trained(makes, characters(LENGTH), steps, RATES, runs, seed)
    fresh = data(characters(LENGTH, 256, held=True), MEASURED + seed)
    losses = [[nats(model, fresh) for model in pair.values()] for pair in models]
    costs = [work(dim, 4096) for dim in (32, 64, 128)]
    return Result(
        Comparison("nats a character on held-out modules", losses, -WORSE, drop),
        (Comparison("operations of the cross-decoder for a token after 4096", costs, WORK_BAR, saving),),
        {"steps": steps, "rates": rates, "losses": losses},
    )
