"""A whole model watched or steered, beside the plain forward pass and the same question asked with other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from torch import Tensor

from benchmarks import inputs
from benchmarks.harness import Bench, Row, Runner, Worker, compare, row

TITLE = "A whole model: 8 layers, width 512, 4096 tokens"
STEERED = tuple(range(8))
"""Layers that are steered, in half of their heads."""


@dataclass(frozen=True)
class Size:
    """Shape of the llama."""

    length: int = 4096
    layers: int = 8
    width: int = 512
    heads: int = 8


QUICK = Size(length=64, layers=2, width=32, heads=2)


def _plain(size: Size) -> Callable[[], object]:
    model = inputs.llama(size.layers, size.width, size.heads, size.length)
    ids = inputs.tokens(1, size.length)
    return lambda: model(input_ids=ids, use_cache=False)


def _watched(size: Size) -> Callable[[], Tensor]:
    import saccade as sc

    lm = sc.attach(inputs.llama(size.layers, size.width, size.heads, size.length))
    ids, spans = inputs.tokens(1, size.length), sc.Spans(inputs.members(size.length))

    def run() -> Tensor:
        with lm.watch(sc.Mass(tuple(inputs.PLACES)), spans=spans) as seen:
            lm(input_ids=ids, use_cache=False)
        masses: Tensor = seen["mass"].stack()
        return masses

    return run


def _steered(size: Size) -> Callable[[], Tensor]:
    import saccade as sc

    lm = sc.attach(inputs.llama(size.layers, size.width, size.heads, size.length))
    ids, spans = inputs.tokens(1, size.length), sc.Spans(inputs.members(size.length))
    at = {layer: list(range(size.heads // 2)) for layer in STEERED if layer < size.layers}

    def run() -> Tensor:
        with lm.steer(sc.Scale(sc.Outside("rule"), 0.01, at=at), spans=spans):
            logits: Tensor = lm(input_ids=ids, use_cache=False).logits
        return logits

    return run


VARIANTS: dict[str, Callable[[Size], Callable[[], object]]] = {
    "plain": _plain,
    "watched": _watched,
    "steered": _steered,
}
PLAIN, OWN = "the plain forward pass (sdpa)", "the tool's own plain forward pass"
WATCH, STEER = "masses on four spans, every layer and head", "one span steered in half the heads of every layer"


@dataclass(frozen=True)
class Contender:
    """A way to ask one of the two questions.

    Attributes:
        group: the question.
        module, variant, env: what runs, and where; in an environment of its own, the module's variant ``plain`` is
            the tool's own plain forward pass.
        bar, memory_bar: ratios that were promised.
    """

    group: str
    module: str
    variant: str
    env: str | None = None
    bar: float | None = None
    memory_bar: float | None = None
    note: str = ""


PEERS = "benchmarks.peers"
OURS = {
    "Saccade, watch": Contender(WATCH, __name__, "watched", bar=1.15, memory_bar=1.1),
    "Saccade, steer": Contender(STEER, __name__, "steered"),
}
OTHERS = {
    "transformers, output_attentions": Contender(WATCH, f"{PEERS}.eager", "output_attentions"),
    "transformers, eager with hooks": Contender(
        WATCH, f"{PEERS}.eager", "hooks", note="each layer's weights reduced in a hook and dropped"
    ),
    "TransformerLens, hooks": Contender(
        WATCH,
        f"{PEERS}.transformer_lens",
        "hooks",
        "transformer_lens",
        note="TransformerBridge around the same model; each hook_pattern reduced in a hook and dropped",
    ),
    "TransformerLens, cache": Contender(
        WATCH,
        f"{PEERS}.transformer_lens",
        "cache",
        "transformer_lens",
        note="run_with_cache with a names_filter for hook_pattern",
    ),
    "nnsight, trace": Contender(
        WATCH,
        f"{PEERS}.nnsight",
        "trace",
        "nnsight",
        note="weights of eager attention reduced inside the trace; its own plain pass is the sdpa model there",
    ),
    "PASTA's mask": Contender(
        STEER,
        f"{PEERS}.pasta",
        "mask",
        note="a float mask [B, H, Q, K] edited by a hook before every layer, on sdpa",
    ),
}


def run(bench: Bench) -> list[Row]:
    """Each contender in a process of its own: memory of its first run there, then times in turn with the plain pass."""
    size = QUICK if bench.quick else Size()
    with ExitStack() as stack:

        def fresh(module: str, env: str | None = None) -> Worker:
            return stack.enter_context(bench.worker(module, size, env))

        race = Race(bench, fresh, plain := fresh(__name__), plain.first("plain").bytes)
        rows = race.run(OURS, repeats=5)
        here = {name: peer for name, peer in OTHERS.items() if peer.env is None or bench.has(peer.env)}
        rows += race.run(here, repeats=2)
    return sorted(rows, key=lambda found: (found.group != WATCH, found.against != PLAIN))


@dataclass
class Race:
    """Contenders against the plain forward pass.

    Attributes:
        fresh: starts a worker of a module in an environment.
        plain, memory: the worker of the plain pass, and the memory of its first run.
        answers: what the first contender of each group found; later ones are compared with it.
    """

    bench: Bench
    fresh: Callable[..., Worker]
    plain: Worker
    memory: dict[str, int]
    answers: dict[str, list[float]] = field(default_factory=dict)

    def run(self, contenders: Mapping[str, Contender], repeats: int) -> list[Row]:
        """The rows of some contenders, and of those with a plain pass of their own a second one."""
        workers = {name: self.fresh(peer.module, peer.env) for name, peer in contenders.items()}
        firsts = {name: workers[name].first(peer.variant) for name, peer in contenders.items()}
        owners = {peer.env: peer for peer in contenders.values() if peer.env is not None}
        plains = {env: self.fresh(peer.module, env) for env, peer in owners.items()}
        memories = {env: worker.first("plain").bytes for env, worker in plains.items()}
        runners = {name: Runner(workers[name], peer.variant) for name, peer in contenders.items()}
        runners |= {env: Runner(worker, "plain") for env, worker in plains.items()}
        pairs = compare(Runner(self.plain, "plain"), runners, self.bench.repeats(repeats), warm=False)
        rows = []
        for name, peer in contenders.items():
            first = firsts[name]
            answer = self.answers.setdefault(peer.group, first.answer)
            apart = max(abs(a - b) for a, b in zip(first.answer, answer, strict=True))
            more = {"memory": first.bytes, "difference": None if answer is first.answer else apart, "note": peer.note}
            bars = {"bar": peer.bar, "memory_bar": peer.memory_bar}
            rows.append(row(peer.group, name, PLAIN, pairs[name], against_memory=self.memory, **bars, **more))
            if peer.env is not None:
                own = [(theirs, s) for (_, theirs), (_, s) in zip(pairs[peer.env], pairs[name], strict=True)]
                rows.append(row(peer.group, name, OWN, own, against_memory=memories[peer.env], **more))
        return rows
