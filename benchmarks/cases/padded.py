"""A left-padded batch with an edit, beside transformers' own sdpa path on that batch, and the kernel under both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import inputs
from benchmarks.harness import Bench, Row, Runner, compare, row

TITLE = "A left-padded batch with an edit"
SHARES = (0.0, 0.1, 0.25, 0.5)
"""Padding of each sample, as a share of the length."""


@dataclass(frozen=True)
class Size:
    """Shape of a batch of four samples."""

    length: int = 1024
    layers: int = 4
    width: int = 512
    heads: int = 8

    @property
    def pads(self) -> tuple[int, ...]:
        """Padding tokens on the left of each sample."""
        return tuple(int(share * self.length) for share in SHARES)

    def real(self) -> Tensor:
        """Real tokens ``[B, N]``."""
        return torch.arange(self.length) >= torch.tensor(self.pads)[:, None]


QUICK = Size(length=64, layers=2, width=32, heads=2)


def _call(size: Size, steer: bool, watch: bool = False) -> Callable[[], object]:
    import saccade as sc

    q, k, v = inputs.tensors(len(SHARES), size.heads, size.length, size.width // size.heads)
    if not steer and not watch:
        causal = torch.ones(size.length, size.length, dtype=torch.bool).tril()
        mask = causal & size.real()[:, None, None]
        return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    spans, real = sc.Spans(inputs.members(size.length, size.pads)), size.real()
    edits, measures = [sc.Scale("rule", 4.0)] if steer else [], [sc.Mass()] if watch else []
    return lambda: sc.attention(q, k, v, causal=True, mask=real, spans=spans, edits=edits, measures=measures)


def _model(size: Size, steer: bool, watch: bool = False) -> Callable[[], object]:
    import saccade as sc

    model = inputs.llama(size.layers, size.width, size.heads, size.length)
    ids, real = inputs.tokens(len(SHARES), size.length), size.real().long()
    asked = {"input_ids": ids, "attention_mask": real, "use_cache": False}
    if not steer and not watch:
        return lambda: model(**asked)
    lm, spans = sc.attach(model), sc.Spans(inputs.members(size.length, size.pads))

    def run() -> None:
        if steer:
            with lm.steer(sc.Scale("rule", 4.0), spans=spans):
                lm(**asked)
        else:
            with lm.watch(sc.Mass(), spans=spans):
                lm(**asked)

    return run


VARIANTS: dict[str, Callable[[Size], Callable[[], object]]] = {
    "SDPA with a boolean mask": lambda size: _call(size, steer=False),
    "kernel: one span scaled": lambda size: _call(size, steer=True),
    "kernel: one span scaled, masses read": lambda size: _call(size, steer=True, watch=True),
    "transformers, sdpa": lambda size: _model(size, steer=False),
    "model: one span scaled": lambda size: _model(size, steer=True),
    "model: masses read": lambda size: _model(size, steer=False, watch=True),
}
GROUPS = {
    "one call, 4 x 8 heads x 1024, width 64": "SDPA with a boolean mask",
    "llama, 4 layers, width 512, 4 x 1024 tokens": "transformers, sdpa",
}
BARS = {"kernel: one span scaled": 1.0, "model: one span scaled": 1.0}


def run(bench: Bench) -> list[Row]:
    """Kernel calls against SDPA with transformers' mask, whole models against transformers' own path."""
    rows: list[Row] = []
    with bench.worker(__name__, QUICK if bench.quick else Size()) as worker:
        for (group, base), prefix in zip(GROUPS.items(), ("kernel: ", "model: "), strict=True):
            names = [name for name in VARIANTS if name.startswith(prefix)]
            pairs = compare(Runner(worker, base), {name: Runner(worker, name) for name in names}, bench.repeats(5))
            rows += [row(group, n.removeprefix(prefix), base, pairs[n], bar=BARS.get(n)) for n in names]
    return rows
