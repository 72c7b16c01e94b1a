"""[71] Dual attention: heads that carry relations learn patterns of same and different from fewer examples."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.repro.claims.mech_pos.shared import MEASURED, USES, Draw, data, fitted, right
from saccade.repro.host import IGNORED, Batch, Host, Mixer, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

PATTERNS = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 2]])
WIDTH, EXAMPLES, ROWS, RATE = 32, 1000, 64, 5e-3
BARS = {EXAMPLES: 0.05, 2 * EXAMPLES: 0.0}
FIRST = 100
KINDS = {
    "softmax": (Mixer("softmax", None), 3),
    "dual": (Mixer("dual", None, {"relational": 2, "symbols": 8, "symmetric": True}), 2),
}
"""What mixes, and how much wider the feed-forward layers are, so that both have 22,000 parameters."""


class Seeing(Host):
    """A host whose tokens are vectors; their places are part of them."""

    def __init__(self, mixer: Mixer, widening: int) -> None:
        super().__init__(Sizes(len(PATTERNS), dim=32, widening=widening, causal=False), mixer)
        self.add_module("embed", nn.Linear(WIDTH + 3, 32))


def triples(generator: torch.Generator, rows: int) -> Batch:
    """Three objects, random vectors of which some are the same; which of five patterns is asked at the first."""
    pattern = torch.randint(len(PATTERNS), (rows,), generator=generator)
    place = PATTERNS[pattern][..., None].expand(-1, -1, WIDTH)
    objects = torch.randn(rows, 3, WIDTH, generator=generator).gather(1, place)
    wanted = F.pad(pattern[:, None], (0, 2), value=IGNORED)
    return torch.cat([objects, torch.eye(3).expand(rows, -1, -1)], dim=-1), wanted


def among(examples: Batch) -> Draw:
    """Batches of a fixed set of examples."""

    def draw(generator: torch.Generator) -> Batch:
        rows: Tensor = torch.randint(len(examples[0]), (ROWS,), generator=generator)
        return examples[0][rows], examples[1][rows]

    return draw


@claim(
    71,
    "with half of the heads carrying symmetric relations a transformer learns from 1,000 examples which of three "
    "unknown objects are the same better than softmax attention of as many parameters, and no worse from 2,000",
    uses=USES,
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on new objects after as many steps on the same examples; a unit is a training run of all.

    The quick form has the smaller number of examples alone.
    """
    runs, steps, counts = (2, 150, (EXAMPLES,)) if quick else (5, 250, (EXAMPLES, 2 * EXAMPLES))
    fresh = data(lambda generator: triples(generator, 2000), MEASURED + seed)
    found: dict[int, list[list[float]]] = {count: [] for count in counts}
    for number in range(FIRST + 1000 * seed, FIRST + 1000 * seed + runs):
        for count in counts:
            draw = among(triples(torch.Generator().manual_seed(number), count))
            models = [fitted(lambda kind=kind: Seeing(*kind), draw, steps, RATE, number) for kind in KINDS.values()]
            found[count].append([right(model, fresh) for model in models])
    few, *many = (
        Comparison(f"accuracy on new objects, {count} examples", found[count], bar)
        for count, bar in BARS.items()
        if count in found
    )
    return Result(few, tuple(many), {"steps": steps, "accuracies by examples": found})
