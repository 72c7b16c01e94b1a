"""One layer of 32,768 tokens: what steering and reading add in memory and time."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.harness import Bench, Row, Runner, compare, row

from . import engine

TITLE = "One layer of 32,768 tokens"
EXTRA = 2 * 10**9


@dataclass(frozen=True)
class Size(engine.Size):
    """Shape of the call."""

    length: int = 32768


QUICK = Size(length=512, width=16, heads=2, kv_heads=2)
VARIANTS = {name: engine.VARIANTS[name] for name in ("plain SDPA", engine.MAIN)}


def run(bench: Bench) -> list[Row]:
    """Memory of each in a fresh process, then both in turn."""
    base, name = VARIANTS
    size = QUICK if bench.quick else Size()
    with bench.worker(__name__, size) as plain, bench.worker(__name__, size) as steered:
        memory = {base: plain.first(base).bytes, name: steered.first(name).bytes}
        pairs = compare(Runner(plain, base), {name: Runner(steered, name)}, bench.repeats(2), warm=False)
    group = "8 heads, width 64, float32, causal"
    more = {"memory": memory[name], "against_memory": memory[base], "extra_bar": EXTRA}
    return [row(group, name, base, pairs[name], **more)]
