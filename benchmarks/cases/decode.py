"""Generation with a cache: what an edit and a watch cost for each new token."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import inputs
from benchmarks.harness import Bench, Row, Runner, Seconds, compare, row

TITLE = "Decoding: cost of one new token"


@dataclass(frozen=True)
class Size:
    """A llama, a prompt and how many tokens to add to it."""

    layers: int = 8
    width: int = 512
    heads: int = 8
    prompt: int = 512
    new: int = 32
    cache: str = "dynamic"


QUICK = Size(layers=2, width=32, heads=2, prompt=32, new=4)


class Clock:
    """A stopping criterion that never stops: it notes when each token was done."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self.ticks.append(time.perf_counter())
        return torch.zeros(ids.shape[0], dtype=torch.bool)

    def per_token(self) -> Seconds:
        """Mean time between tokens; the first one, which is the prompt's, left out."""
        return Seconds((self.ticks[-1] - self.ticks[0]) / (len(self.ticks) - 1))


def _generation(
    contexts: Callable[[Any, Any], list[Any]] | None, attention: str = "sdpa", **options: Any
) -> Callable[[Size], Callable[[], Seconds]]:
    """Greedy generation inside some contexts; None leaves the model alone."""

    def build(size: Size) -> Callable[[], Seconds]:
        import saccade as sc

        model = inputs.llama(size.layers, size.width, size.heads, size.prompt + size.new, attention)
        spans = sc.Spans(inputs.members(size.prompt))
        lm = sc.attach(model) if contexts is not None else None
        generate = model.generate if lm is None else lm.generate
        asked = {
            "input_ids": inputs.tokens(1, size.prompt),
            "attention_mask": torch.ones(1, size.prompt, dtype=torch.long),
            "min_new_tokens": size.new,
            "max_new_tokens": size.new,
            "do_sample": False,
            "cache_implementation": size.cache,
            "disable_compile": True,
            **options,
        }

        def run() -> Seconds:
            clock = Clock()
            with contextlib.ExitStack() as stack:
                for context in contexts(lm, spans) if contexts is not None else []:
                    stack.enter_context(context)
                generate(**asked, stopping_criteria=[clock])
            return clock.per_token()

        return run

    return build


def _steer(lm: Any, spans: Any) -> list[Any]:
    import saccade as sc

    return [lm.steer(sc.Scale("rule", 4.0), spans=spans)]


def _watch(lm: Any, spans: Any) -> list[Any]:
    import saccade as sc

    return [lm.watch(sc.Mass(), spans=spans)]


VARIANTS: dict[str, Callable[[Size], Callable[[], object]]] = {
    "transformers' generate": _generation(None),
    "attached, no context open": _generation(lambda lm, spans: []),
    "one span scaled": _generation(_steer),
    "masses on four spans read": _generation(_watch),
    "scaled and read": _generation(lambda lm, spans: _steer(lm, spans) + _watch(lm, spans)),
    "peer: eager with output_attentions": _generation(
        None, "eager", output_attentions=True, return_dict_in_generate=True
    ),
}


def run(bench: Bench) -> list[Row]:
    """Every variant against the model's own ``generate``, with a growing and with a static cache."""
    base, *names = VARIANTS
    rows: list[Row] = []
    for cache in ("dynamic", "static"):
        size = Size(**{**vars(QUICK), "cache": cache}) if bench.quick else Size(cache=cache)
        with bench.worker(__name__, size) as worker:
            pairs = compare(Runner(worker, base), {n: Runner(worker, n) for n in names}, bench.repeats(3))
        group = f"{cache} cache; 8 layers, width 512, 512 tokens of prompt"
        rows += [row(group, name, base, pairs[name], unit="token") for name in names]
    return rows
