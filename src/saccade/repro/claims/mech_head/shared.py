"""What claims about heads share: pieces of source code, conversions of a trained host, and training it further."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import Layer, Projected, State, mechanism
from saccade.mechanisms.heads.grouped_query import regroup
from saccade.repro.host import IGNORED, Batch, Host, Sizes
from saccade.repro.source import SYMBOLS, pieces

LENGTH, ROWS, HEADS, KEPT = 48, 24, 8, 2
SIZES = Sizes(vocabulary=SYMBOLS, heads=HEADS)
USES = ("saccade.repro.host", "saccade.repro.source", "saccade.repro.claims.mech_head.shared")
TUNED, MEASURED = 2**30, 2**30 + 1
"""Seeds of the data that choose a learning rate, and that measure."""


def lines(generator: torch.Generator, rows: int = ROWS, held: bool = False) -> Batch:
    """Pieces of source code, each character to be foretold from those before; ``held`` ones never train."""
    piece = pieces(generator, rows, LENGTH + 1, held)
    return piece[:, :-1], piece[:, 1:]


def fresh(seed: int, rows: int = 512) -> Batch:
    """Pieces of held-out modules."""
    return lines(torch.Generator().manual_seed(MEASURED + seed), rows, held=True)


def converted(model: Host, convert: Callable[[Projected], Layer]) -> Host:
    """A copy of a trained host with every softmax layer in it converted."""
    made = copy.deepcopy(model)
    for block in made.blocks:
        block.mix = convert(block.mix)
    return made


def pooled(layer: Projected) -> Projected:
    """``layer`` with ``KEPT`` key-value heads, each the mean of those it replaces."""
    return regroup(layer, KEPT)


def taking_over(name: str, **options: object) -> Callable[[Projected], Layer]:
    """A conversion to the mechanism ``name``, which takes every parameter of the layer that it has itself."""

    def convert(layer: Projected) -> Layer:
        shape = layer.shape
        made = mechanism(name, shape.dim, shape.heads, shape.kv_heads, positions=layer.inner.position.config, **options)
        made.load_state_dict(layer.state_dict(), strict=False)
        return made

    return convert


def train_on(
    model: nn.Module,
    batch: Callable[[torch.Generator], Batch],
    steps: int,
    rate: float,
    seed: int,
    extra: Callable[[], Tensor | float] = lambda: 0.0,
    before: Callable[[int], None] = lambda step: None,
) -> None:
    """Train ``model`` further, AdamW and linear decay; ``extra`` joins the loss, ``before`` runs ahead of a step."""
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: min((i + 1) / (0.05 * steps), 1 - i / steps))
    model.train()
    for step in range(steps):
        before(step)
        tokens, wanted = batch(draw)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten(), ignore_index=IGNORED) + extra()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def cached(model: Host, tokens: int = 64) -> int:
    """Bytes of keys and values, or of what stands for them, that decoding keeps for each token of a sequence."""
    sizes = []
    for length in (tokens, 2 * tokens):
        states = [State() for _ in model.blocks]
        for block, state in zip(model.blocks, states, strict=True):
            block.mix(torch.zeros(1, length, block.mix.shape.dim), state=state)
        sizes.append(sum(held(state) for state in states))
    return (sizes[1] - sizes[0]) // tokens


def held(state: State) -> int:
    """Bytes of floating-point numbers in a state: keys and values without their positions."""
    own = sum(t.numel() * t.element_size() for t in state.tensors.values() if t.is_floating_point())
    return own + sum(held(child) for child in state.children.values())
