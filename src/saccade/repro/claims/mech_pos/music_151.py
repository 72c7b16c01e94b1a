"""[151] Music Transformer: relative attention by skewing, without a vector for each pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from saccade.mechanisms import View
from saccade.mechanisms.positions.music import relative_logits
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, saving

BAR, GROWTH_BAR, EXACT = 10.0, 0.8, -1e-4
WIDTHS = (32, 128)


def vectors(q: Tensor, table: Tensor, view: View) -> Tensor:
    """Relative logits from one vector for each pair of tokens, as they were computed before."""
    return view.hide(torch.einsum("bhid,hijd->bhij", q, table[:, view.distance()[0, 0].clamp_min(0)]))


def peak(compute: Callable[[], Tensor]) -> int:
    """Most bytes allocated at once, by the allocator's own account."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        compute()
    now = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


WAYS = (vectors, relative_logits)


@claim(
    151,
    "skewing computes relative attention exactly, in at most a tenth of the memory of a vector for each pair, "
    "and that memory no longer grows with the width of a head: what depends on it is linear in length",
    uses=("saccade.mechanisms.view",),
)
def run(quick: bool, seed: int) -> Result:
    """Peak memory, counted and not timed; a unit is one case (heads, length), so the numbers hardly vary."""
    draw, whole, growth, exact = torch.Generator().manual_seed(seed), [], [], []
    for heads, length in product((1, 2), (128, 256) if quick else (256, 512)):
        view = View.of(length, length, causal=True, cross=False)
        peaks = []
        for width in WIDTHS:
            q = torch.randn(1, heads, length, width, generator=draw)
            table = torch.randn(heads, length, width, generator=draw)
            peaks.append([float(peak(partial(way, q, table, view))) for way in WAYS])
        truth = vectors(q.double(), table.double(), view)
        exact.append([0.0, (relative_logits(q, table, view) - truth).abs().max().item()])
        whole.append(peaks[-1])
        growth.append([math.log(many / few, WIDTHS[1] / WIDTHS[0]) for few, many in zip(*peaks, strict=True)])
    return Result(
        Comparison(f"peak bytes of relative logits, heads of {WIDTHS[-1]}", whole, BAR, saving),
        (
            Comparison("exponent of the growth of memory with the width of a head", growth, GROWTH_BAR, drop),
            Comparison("largest difference from float64", exact, EXACT, drop),
        ),
        {"widths": WIDTHS, "bytes": whole, "exponents": growth},
    )
