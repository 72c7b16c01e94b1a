"""[227] Neighbourhood attention in one and two dimensions, tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saccade.mechanisms import Shape, build
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, saving
from saccade.testing.cost import counted, exponent

SHAPE = Shape(64, 2)
BAR, GROWTH_BAR, EXACT = 8.0, 0.8, -1e-5
"""Operations and bytes against the dense form; difference of exponents; largest difference from float64."""


@dataclass(frozen=True)
class Case:
    """Places seen along each axis, how far apart, and whether the tokens are an image."""

    window: int
    dilation: int
    image: bool

    def ways(self, side: int) -> dict[str, Callable[..., Tensor]]:
        """The dense form, every pair with a mask, and the tiles, for ``side``² tokens."""
        grid = (side, side) if self.image else None
        m: Any = build("neighbourhood", SHAPE, window=self.window, dilation=self.dilation, grid=grid)
        return {path: partial(m, causal=False, path=path) for path in ("reference", "fast")}


CASES = [Case(w, d, True) for w in (3, 7) for d in (1, 2)] + [Case(w, d, False) for w in (7, 63) for d in (1, 2)]


def inputs(side: int, seed: int) -> list[Tensor]:
    """q, k, v of ``side``² tokens."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(1, SHAPE.heads, side**2, SHAPE.head_dim, generator=draw) for _ in range(3)]


@claim(
    227,
    "attention to the nearest places of a sequence or an image, dilated or not, is exact when run in tiles, at a small "
    "part of the operations and memory traffic of the dense form, both of which grow in proportion to the tokens",
    uses=("saccade.mechanisms.sparse.tiles", "saccade.testing.cost", "saccade.core"),
)
def run(quick: bool, seed: int) -> Result:
    """Counted, not timed; a unit is one case: 3 or 7 places along each axis of an image, 7 or 63 of a sequence."""
    side = 32 if quick else 48
    operations, traffic, growth, exact = [], [], [], []
    for case in CASES:
        work = {}
        for size in (side // 2, side):
            work[size] = [counted(partial(way, *inputs(size, seed))) for way in case.ways(size).values()]
        short, long = work[side // 2], work[side]
        operations.append([float(count.flops) for count in long])
        traffic.append([float(count.bytes) for count in long])
        pairs = list(zip(short, long, strict=True))
        for what in ("flops", "bytes"):
            growth.append([exponent(getattr(a, what), getattr(b, what), 4) for a, b in pairs])
        small = inputs(side // 2, seed)
        ways = case.ways(side // 2)
        right = ways["reference"](*(t.double() for t in small))
        exact.append([(way(*small) - right).abs().max().item() for way in ways.values()])
    return Result(
        Comparison(f"operations at {side**2} tokens", operations, BAR, saving),
        (
            Comparison(f"bytes read and written at {side**2} tokens", traffic, BAR, saving),
            Comparison("exponent of the growth of operations, and of bytes, with tokens", growth, GROWTH_BAR, drop),
            Comparison("largest difference from float64", exact, EXACT, drop),
        ),
        {"cases": [str(case) for case in CASES], "operations": operations, "bytes": traffic, "exponents": growth},
    )
