"""[113] Lightning attention 2: tiles instead of cumulative sums."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.mechanisms import QKV, Shape, build, mechanism
from saccade.mechanisms.positions.alibi import geometric_slopes
from saccade.repro.claims.mech_lin.shared import USES, work
from saccade.repro.claims.mech_rnn.aaren_401 import decoding
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, saving
from saccade.testing.cost import Counter

HEADS, STRETCH = 2, 8
GROWTH_BAR, CONSTANT, SUMS_BAR, TIME_BAR, STEP_BAR, EXACT = 4.0, -0.05, 4.0, 2.0, 4.0, -1e-5

Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def inputs(width: int, length: int, seed: int) -> list[Tensor]:
    """q, k, v [1,H,N,D] that take gradients."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(1, HEADS, length, width, generator=draw).requires_grad_() for _ in range(3)]


def tiles(width: int) -> Way:
    """Lightning attention as the library runs it."""
    inner = build("lightning", Shape(HEADS * width, HEADS))
    assert isinstance(inner, QKV)
    return partial(inner, causal=True)


def quadratic(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Lightning attention as its equation is written, every pair of tokens apart."""
    age = torch.arange(q.shape[-2])[:, None] - torch.arange(k.shape[-2])
    rate = geometric_slopes(HEADS, q.device).to(q.dtype)[:, None, None]
    decay = torch.where(age < 0, 0, torch.exp(-rate * age.clamp_min(0)))
    out: Tensor = (q @ k.mT * decay) @ v
    return out


def cumulative(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Linear attention by a cumulative sum of the products of keys and values, without decay."""
    return (q[..., None, :] @ (k[..., :, None] * v[..., None, :]).cumsum(-3)).squeeze(-2)


def softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal softmax attention as its equation is written."""
    past = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    logits: Tensor = q @ k.mT * q.shape[-1] ** -0.5
    return logits.masked_fill(~past, -torch.inf).softmax(-1) @ v


def trained(way: Way, given: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of its sum with respect to the inputs."""
    out = way(*given)
    return [out, *torch.autograd.grad(out.sum(), given)]


def operations(way: Way, width: int, length: int) -> float:
    """Of the output and the gradients, for each token, as counted."""
    given = inputs(width, length, seed=0)
    count = Counter()
    with count:
        trained(way, given)
    return count.flops / length


def processor_seconds(way: Way, width: int, length: int) -> float:
    """Of the output and the gradients, for each token: what the processor worked, whoever else used it."""
    given = inputs(width, length, seed=0)
    before = time.process_time()
    trained(way, given)
    return (time.process_time() - before) / length


def growth(cost: Callable[[Way, int, int], float], way: Way, width: int, length: int) -> float:
    """Of a cost for each token as the length grows to ``STRETCH`` times as many."""
    short, long = (cost(way, width, tokens) for tokens in (length, STRETCH * length))
    return long / short


def error(width: int, length: int, seed: int) -> float:
    """Largest difference of outputs and gradients from the quadratic form in float64, relative to its largest."""
    given = inputs(width, length, seed)
    wanted = trained(quadratic, [t.detach().double().requires_grad_() for t in given])
    pairs = zip(trained(tiles(width), given), wanted, strict=True)
    return max(float(((a - b).abs().max() / b.abs().max()).detach()) for a, b in pairs)


@claim(
    113,
    "linear attention by tiles gives outputs and gradients of the quadratic form, at a cost a token that stays the "
    "same eight times as far where that of softmax attention multiplies, and moves far less than cumulative sums do",
    uses=(*USES, "saccade.mechanisms.scan", "saccade.repro.claims.mech_rnn.aaren_401"),
)
def run(quick: bool, seed: int) -> Result:
    """Operations and bytes are counted; seconds are the processor's own, in turns. A unit is a width of heads.

    Of seconds a unit is a round of the four measurements at one width.
    """
    length, rounds = (256, 2) if quick else (512, 3)
    widths = (16, 32, 64)
    ways = {width: (softmax, tiles(width)) for width in widths}
    counts = [[growth(operations, way, width, length) for way in ways[width]] for width in widths]
    fused = partial(F.scaled_dot_product_attention, is_causal=True)
    seconds = [[growth(processor_seconds, way, 32, 512) for way in (fused, tiles(32))] for _ in range(rounds + 1)][1:]
    moved, steps, exact = [], [], []
    for i, (width, wide) in enumerate(zip(widths, (64, 96, 128), strict=True)):
        short = [t.detach() for t in inputs(wide, length, seed)]
        moved.append([work(lambda way=way, x=short: way(*x))[1] for way in (cumulative, tiles(wide))])
        x = torch.randn(1, STRETCH * length, HEADS * width, generator=torch.Generator().manual_seed(seed))
        steps.append([decoding(mechanism(name, HEADS * width, HEADS), x)[1] for name in ("softmax", "lightning")])
        exact.append([0.0, error(width, 300, 10 * seed + i)])
    return Result(
        Comparison(f"growth of operations a token from {length} to {STRETCH * length}", counts, GROWTH_BAR, saving),
        (
            Comparison("the same growth: constant, and by tiles", [[1.0, own] for _, own in counts], CONSTANT, drop),
            Comparison("growth of processor seconds a token, fused softmax and tiles", seconds, TIME_BAR, saving),
            Comparison("bytes moved: cumulative sums against tiles", moved, SUMS_BAR, saving),
            Comparison(f"operations for the token after {STRETCH * length - 1}", steps, STEP_BAR, saving),
            Comparison("largest relative difference from the quadratic form in float64", exact, EXACT, drop),
        ),
        {"operations": counts, "seconds": seconds, "bytes": moved},
    )
