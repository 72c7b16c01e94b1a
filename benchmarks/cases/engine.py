"""The engine beside plain SDPA: one call of causal attention over 8 heads and 4096 tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import inputs
from benchmarks.harness import Bench, Row, Runner, compare, row

TITLE = "The engine: one call of causal attention"
STEER, READ = "rule", tuple(inputs.PLACES)
ALPHA = 4.0


@dataclass(frozen=True)
class Size:
    """Shape of a call."""

    length: int = 4096
    width: int = 64
    heads: int = 8
    kv_heads: int = 8
    dtype: str = "float32"

    def tensors(self) -> list[Tensor]:
        """Queries, keys and values; the keys and values of the first ``kv_heads`` heads."""
        q, k, v = inputs.tensors(1, self.heads, self.length, self.width, getattr(torch, self.dtype))
        return [q, k[:, : self.kv_heads].contiguous(), v[:, : self.kv_heads].contiguous()]


QUICK = Size(length=128, width=16, heads=2, kv_heads=2)


def _plain(size: Size) -> Callable[[], object]:
    q, k, v = size.tensors()
    grouped = size.heads != size.kv_heads
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)


def _saccade(scattered: bool = False, **asked: Any) -> Callable[[Size], Callable[[], object]]:
    """A call of the engine; ``asked`` holds functions that make edits and measures."""

    def build(size: Size) -> Callable[[], object]:
        import saccade as sc

        q, k, v = size.tensors()
        members = inputs.members(size.length)
        if scattered:
            order = torch.randperm(size.length, generator=torch.Generator().manual_seed(inputs.SEED))
            members = {name: member[:, order] for name, member in members.items()}
        spans = sc.Spans(members)
        made = {name: make(sc) for name, make in asked.items()}
        return lambda: sc.attention(q, k, v, causal=True, spans=spans, **made)

    return build


def _scale(sc: Any) -> list[Any]:
    return [sc.Scale(STEER, ALPHA)]


def _scale_half(sc: Any) -> list[Any]:
    return [sc.Scale(STEER, ALPHA, at=[0])]


def _share(sc: Any) -> list[Any]:
    return [sc.Reallocate(lambda mass: torch.full_like(mass, 0.3), spans=(STEER,))]


def _masses(sc: Any) -> list[Any]:
    return [sc.Mass(READ)]


def _float_mask(size: Size) -> Callable[[], object]:
    q, k, v = size.tensors()
    bias = inputs.members(size.length)[STEER].to(q.dtype) * torch.tensor(ALPHA).log().to(q.dtype)
    hidden = torch.ones(size.length, size.length, dtype=torch.bool).triu(1)
    mask = bias.expand(size.length, -1).masked_fill(hidden, -torch.inf)[None, None]
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _eager(size: Size) -> Callable[[], object]:
    q, k, v = size.tensors()
    bias = inputs.members(size.length)[STEER] * torch.tensor(ALPHA).log()
    hidden = torch.ones(size.length, size.length, dtype=torch.bool).triu(1)
    columns = inputs.onehot(size.length)

    def run() -> tuple[Tensor, Tensor]:
        scores = q @ k.transpose(-1, -2) * size.width**-0.5
        weights = (scores.float() + bias).masked_fill(hidden, -torch.inf).softmax(-1)
        return weights.to(v.dtype) @ v, weights @ columns

    return run


VARIANTS: dict[str, Callable[[Size], Callable[[], object]]] = {
    "plain SDPA": _plain,
    "one span scaled, masses on four spans read": _saccade(edits=_scale, measures=_masses),
    "the same with spans of scattered tokens": _saccade(scattered=True, edits=_scale, measures=_masses),
    "one span scaled": _saccade(edits=_scale),
    "one span scaled in one head": _saccade(edits=_scale_half),
    "masses on four spans": _saccade(measures=_masses),
    "entropy": _saccade(measures=lambda sc: [sc.Entropy()]),
    "a two-pass edit (Reallocate)": _saccade(edits=_share),
    "attention received by each key": _saccade(measures=lambda sc: [sc.Received()]),
    "a pooled map of 64 x 64": _saccade(measures=lambda sc: [sc.Pooled(rows=64, cols=64)]),
    "peer: one span scaled by a dense float mask": _float_mask,
    "peer: hand-written softmax, scaled and read": _eager,
}
MAIN = "one span scaled, masses on four spans read"
BARS = {"width 64, float32": {MAIN: 1.15, "entropy": 2.2}, "width 128, float32": {MAIN: 1.25, "entropy": 2.2}}
FEW = (MAIN, "one span scaled", "masses on four spans", "entropy")


def run(bench: Bench) -> list[Row]:
    """Every variant against plain SDPA, by width and precision; the bars are about float32."""
    groups = {
        "width 64, float32": (Size(), tuple(VARIANTS)[1:]),
        "width 128, float32": (Size(width=128), tuple(VARIANTS)[1:]),
        "width 64, float32, 8 heads over 2": (Size(kv_heads=2), FEW),
        "width 64, bfloat16": (Size(dtype="bfloat16"), FEW),
    }
    rows: list[Row] = []
    for group, (size, names) in groups.items():
        small = Size(QUICK.length, QUICK.width, size.heads, size.kv_heads, size.dtype)
        with bench.worker(__name__, small if bench.quick else size) as worker:
            base, runners = Runner(worker, "plain SDPA"), {name: Runner(worker, name) for name in names}
            often = {name: runner for name, runner in runners.items() if name in FEW}
            seldom = {name: runner for name, runner in runners.items() if name not in FEW}
            pairs = {**compare(base, often, bench.repeats(7)), **compare(base, seldom, bench.repeats(3))}
        bars = BARS.get(group, {})
        rows += [row(group, name, "plain SDPA", pairs[name], bar=bars.get(name)) for name in names]
    return rows
