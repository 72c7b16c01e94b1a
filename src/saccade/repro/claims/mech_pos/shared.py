"""What claims about positions and recurrence share: training of small models, tuned alike, on the same data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.repro.host import IGNORED, TUNING, Batch, Host, Mixer, Sizes
from saccade.repro.source import pieces

USES = ("saccade.repro.host", "saccade.repro.source", "saccade.repro.claims.mech_pos.shared")
TUNED, MEASURED = 2**30, 2**30 + 1
"""Seeds of the data that choose a learning rate, and that measure."""

RATES = (1e-2,)
"""Learning rates to choose from; one that suits all of these small models."""

Draw = Callable[[torch.Generator], Batch]
Make = Callable[[], nn.Module]


def host(sizes: Sizes, name: str, positions: str | None = None, **options: object) -> Make:
    """How to build a host with a mechanism in every layer."""
    return lambda: Host(sizes, Mixer(name, positions, options))


def characters(length: int, rows: int = 16, held: bool = False) -> Draw:
    """Pieces of source code, each character to be foretold from those before; ``held`` ones never train."""

    def draw(generator: torch.Generator) -> Batch:
        piece = pieces(generator, rows, length + 1, held)
        return piece[:, :-1], piece[:, 1:]

    return draw


def data(draw: Draw, seed: int) -> Batch:
    """One batch that no training sees."""
    return draw(torch.Generator().manual_seed(seed))


def fitted(make: Make, draw: Draw, steps: int, rate: float, seed: int) -> nn.Module:
    """A model trained with AdamW, warm-up and cosine decay; everything follows from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * i / steps))
    )
    for _ in range(steps):
        tokens, wanted = draw(generator)
        F.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten(), ignore_index=IGNORED).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    return model.eval()


@torch.no_grad()
def nats(model: nn.Module, batch: Batch, after: int = 0) -> float:
    """Mean cross-entropy of the positions to be foretold, those from ``after`` on."""
    tokens, wanted = batch
    logits: Tensor = model(tokens)[:, after:]
    return F.cross_entropy(logits.flatten(0, 1), wanted[:, after:].flatten(), ignore_index=IGNORED).item()


@torch.no_grad()
def right(model: nn.Module, batch: Batch) -> float:
    """Share of the positions to be foretold that are."""
    tokens, wanted = batch
    asked = wanted != IGNORED
    return float((model(tokens).argmax(-1) == wanted)[asked].double().mean())


def trained(
    makes: Mapping[str, Make], draw: Draw, steps: int, rates: tuple[float, ...], runs: int, seed: int
) -> tuple[list[dict[str, nn.Module]], dict[str, float]]:
    """``runs`` models of each kind, run by run on the same data, each kind at the learning rate that suits it best.

    The rate is the one of ``rates`` with the lowest loss on a batch of its own, after a run that is not measured.
    """
    held, chosen = data(draw, TUNED), {}
    for name, make in makes.items():
        tried = {rate: nats(fitted(make, draw, steps, rate, TUNING), held) for rate in rates} if rates[1:] else {}
        chosen[name] = min(tried, key=lambda rate: tried[rate]) if tried else rates[0]
    models = [
        {name: fitted(make, draw, steps, chosen[name], 1000 * seed + run) for name, make in makes.items()}
        for run in range(runs)
    ]
    return models, chosen
