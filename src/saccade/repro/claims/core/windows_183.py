"""[183] Attention in the many small windows of an image, without writing the maps."""

from __future__ import annotations

import math
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
from saccade.testing.cost import counted

BAR, EXACT = 1.5, -1e-5
"""Bytes against those of the form that writes maps; largest difference from float64."""
WIDTH, IMAGES = 32, 2


@dataclass(frozen=True)
class Case:
    """Side of the image in tokens, heads, side of a window, and shift of the windows."""

    side: int
    heads: int
    window: int
    shift: int

    def mechanism(self) -> Any:
        """Attention of the windows, with biases that are not zero."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.side)
            options = {"window": self.window, "shift": self.shift, "grid": (self.side, self.side)}
            return build("shifted-window", Shape(self.heads * WIDTH, self.heads), **options)

    def inputs(self, seed: int) -> list[Tensor]:
        """q, k, v of the images."""
        draw = torch.Generator().manual_seed(seed)
        return [torch.randn(IMAGES, self.heads, self.side**2, WIDTH, generator=draw) for _ in range(3)]

    def maps(self, table: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same as its definition is implemented: roll, cut into windows, map, bias, mask, softmax, put together."""
        w, side, count = self.window, self.side, self.side // self.window
        place = torch.arange(w**2)
        rows, columns = (a[:, None] - a + w - 1 for a in (place // w, place % w))
        region = torch.arange(side).ge(side - self.shift).long() + torch.arange(side).ge(side - w).long()
        region = (region[:, None] * 3 + region).view(count, w, count, w).transpose(1, 2).reshape(count**2, 1, w**2)
        q, k, v = (self.cut(t) for t in (q, k, v))
        maps = q @ k.mT / math.sqrt(WIDTH) + table[:, rows, columns].to(q.dtype)
        if self.shift:
            hidden = (region != region.mT)[None, :, None]
            maps = maps.masked_fill(hidden, -math.inf)
        out = (maps.softmax(-1) @ v).unflatten(1, (count, count)).unflatten(-2, (w, w))
        image = out.permute(0, 3, 1, 4, 2, 5, 6).contiguous().view(*out.shape[:1], self.heads, side, side, WIDTH)
        whole: Tensor = image.roll((self.shift, self.shift), (2, 3)).flatten(2, 3)
        return whole

    def cut(self, x: Tensor) -> Tensor:
        """[B,H,N,D] -> [B,windows,H,places,D]."""
        w, count = self.window, self.side // self.window
        image = x.unflatten(2, (self.side, self.side)).roll((-self.shift, -self.shift), (2, 3))
        parts = image.unflatten(3, (count, w)).unflatten(2, (count, w)).permute(0, 2, 4, 1, 3, 5, 6)
        windows: Tensor = parts.contiguous().flatten(4, 5).flatten(1, 2)
        return windows


@claim(
    183,
    "attention within the windows of an image, shifted or not, run side by side in one fused kernel that writes no "
    "map, is exact and moves less memory than the form that writes the maps",
    uses=("saccade.testing.cost", "saccade.core"),
)
def run(quick: bool, seed: int) -> Result:
    """Bytes counted and not timed, cutting and putting together included; a unit is one size of image and windows."""
    sizes = [(56, 3, 7), (28, 6, 7), (14, 12, 7), (64, 3, 8)] + ([] if quick else [(64, 4, 16), (72, 3, 12)])
    cases = [Case(*size, shift) for size in sizes for shift in (0, size[-1] // 2)]
    traffic, exact = [], []
    for case in cases:
        m, qkv = case.mechanism(), case.inputs(seed)
        ways: list[Callable[..., Tensor]] = [partial(case.maps, m.table.detach()), partial(m, causal=False)]
        traffic.append([float(counted(partial(way, *qkv)).bytes) for way in ways])
        with torch.no_grad():
            right = ways[0](*(t.double() for t in qkv))
            exact.append([(way(*qkv) - right).abs().max().item() for way in ways])
    return Result(
        Comparison("bytes read and written", traffic, BAR, saving),
        (Comparison("largest difference from float64", exact, EXACT, drop),),
        {"cases": [str(case) for case in cases], "bytes": traffic},
    )
