"""Rollout, relevance and masses of a whole model: where whole matrices do not fit, and beside them where they do."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.harness import Bench, Row, Runner, compare, row

TITLE = "Across layers: 4 layers, width 512, 16,384 tokens"
BUDGET = 3 * 10**9
"""Bytes that each may take at 16,384 tokens."""
LIMIT = 8 * 10**9
"""Bytes of address space that whole matrices get there, to see them fail."""


@dataclass(frozen=True)
class Size:
    """Shape of the llama."""

    length: int = 16384
    layers: int = 4
    width: int = 512
    heads: int = 8


QUICK = Size(length=64, layers=2, width=32, heads=2)
SHORT, SHORTER = 2048, 512
"""Lengths at which the matrices of all layers still fit, for the peers; as JSON, at the shorter one."""


def _model(size: Size, attention: str = "sdpa") -> Any:
    return inputs.llama(size.layers, size.width, size.heads, size.length, attention)


def _plain(size: Size) -> Callable[[], object]:
    model, ids = _model(size), inputs.tokens(1, size.length)
    return lambda: model(input_ids=ids, use_cache=False, logits_to_keep=1)


def _rollout(size: Size) -> Callable[[], Tensor]:
    import saccade as sc
    from saccade.see import Rollout

    lm, ids = sc.attach(_model(size)), inputs.tokens(1, size.length)
    return lambda: Rollout().explain(lm, input_ids=ids, use_cache=False, logits_to_keep=1)[:, None]


def _relevance(size: Size) -> Callable[[], Tensor]:
    import saccade as sc
    from saccade.see import Relevance

    lm, ids = sc.attach(_model(size)), inputs.tokens(1, size.length)
    kept = {"input_ids": ids, "use_cache": False, "logits_to_keep": 1}
    return lambda: Relevance().explain(lm, target=_first_logit, **kept)[:, None]


def _masses(size: Size) -> Callable[[], Tensor]:
    import saccade as sc

    lm, ids = sc.attach(_model(size)), inputs.tokens(1, size.length)
    spans = sc.Spans(inputs.members(size.length))

    def run() -> Tensor:
        with lm.watch(sc.Mass(), spans=spans) as seen:
            lm(input_ids=ids, use_cache=False, logits_to_keep=1)
        masses: Tensor = seen["mass"].stack()
        return masses

    return run


def _capture(size: Size) -> Callable[[], Tensor]:
    """What the viewer sends to a browser."""
    import saccade as sc
    from saccade.prompt import Prompt
    from saccade.viewer import capture, pack

    lm, ids = sc.attach(_model(size)), inputs.tokens(1, size.length)
    words = tuple(map(str, ids[0].tolist()))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    spans = sc.Spans(inputs.members(size.length))
    prompt = Prompt(given, spans, ("",), (words,), (((0, 0),) * size.length,))

    def run() -> Tensor:
        return torch.tensor([[[float(len(pack(capture(lm, prompt))))]]])

    return run


def _json(size: Size) -> Callable[[], Tensor]:
    """What the pages of BertViz hold: every matrix as lists of numbers, in JSON."""
    model, ids = _model(size, "eager"), inputs.tokens(1, size.length)

    def run() -> Tensor:
        matrices = model(input_ids=ids, use_cache=False, logits_to_keep=1, output_attentions=True).attentions
        written = [json.dumps(matrix[0].tolist()) for matrix in matrices]
        return torch.tensor([[[float(sum(map(len, written)))]]])

    return run


def _limited(size: Size) -> Callable[[], Tensor]:
    """Whole matrices where there is no room for them: 1 if that fails, as it has to."""

    def run() -> Tensor:
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, before[1]))
        try:
            _eager_rollout(size)()
        except (RuntimeError, MemoryError):
            return torch.ones(1, 1, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        return torch.zeros(1, 1, 1)

    return run


def _eager_rollout(size: Size) -> Callable[[], Tensor]:
    """Every matrix of every layer, then a product of means."""
    model, ids = _model(size, "eager"), inputs.tokens(1, size.length)

    def run() -> Tensor:
        matrices = model(input_ids=ids, use_cache=False, logits_to_keep=1, output_attentions=True).attentions
        last = torch.zeros(1, size.length)
        last[:, -1] = 1
        for matrix in reversed(matrices):
            last = 0.5 * torch.einsum("bi,bij->bj", last, matrix.mean(1)) + 0.5 * last
        return last[:, None]

    return run


def _eager_relevance(size: Size) -> Callable[[], Tensor]:
    """Gradients of whole matrices, as published code for generic relevance takes them."""
    model, ids = _model(size, "eager"), inputs.tokens(1, size.length)

    def run() -> Tensor:
        with torch.enable_grad():
            out = model(input_ids=ids, use_cache=False, logits_to_keep=1, output_attentions=True)
            slopes = torch.autograd.grad(_first_logit(out).sum(), out.attentions)
        last = torch.zeros(1, size.length)
        last[:, -1] = 1
        for matrix, slope in zip(reversed(out.attentions), reversed(slopes), strict=True):
            last = last + torch.einsum("bi,bij->bj", last, (matrix * slope).clamp_min(0).mean(1).detach())
        return last[:, None]

    return run


def _first_logit(output: Any) -> Tensor:
    logits: Tensor = output.logits[:, -1, 0]
    return logits


LONG = {"masses": _masses, "rollout": _rollout, "relevance": _relevance}
VARIANTS = {
    "plain forward": _plain,
    **LONG,
    "capture": _capture,
    "JSON": _json,
    "limited": _limited,
    "rollout of whole matrices": _eager_rollout,
    "relevance of whole matrices": _eager_relevance,
}


@dataclass(frozen=True)
class Peer:
    """Another way to the same end.

    Attributes:
        ours, theirs: variants that are compared.
        module, env: where the other one is, and its environment.
        length: in tokens.
        same: whether both give the same answer, whose difference is shown.
    """

    ours: str
    theirs: str
    module: str = __name__
    env: str | None = None
    length: int = SHORT
    same: bool = True


PEERS = {
    "transformers, rollout of whole matrices": Peer("rollout", "rollout of whole matrices"),
    "transformers, relevance of whole matrices": Peer("relevance", "relevance of whole matrices"),
    "TransformerLens, rollout of its cache": Peer(
        "rollout", "rollout", "benchmarks.peers.transformer_lens", "transformer_lens"
    ),
    "captum, integrated gradients in 8 steps": Peer(
        "relevance", "integrated gradients", "benchmarks.peers.captum", "captum", same=False
    ),
    "BertViz's data, matrices as JSON": Peer("capture", "JSON", length=SHORTER, same=False),
}


def run(bench: Bench) -> list[Row]:
    """Memory of each in a fresh process, then in turn with the plain pass; peers at a length where they fit."""
    size = QUICK if bench.quick else Size()
    rows, base = [], "plain forward"
    for name in LONG:
        with bench.worker(__name__, size) as plain, bench.worker(__name__, size) as ours:
            memory = {base: plain.first(base).bytes, name: ours.first(name).bytes}
            pairs = compare(Runner(plain, base), {name: Runner(ours, name)}, bench.repeats(2), warm=False)
        more = {"memory": memory[name], "against_memory": memory[base], "extra_bar": BUDGET}
        note = _whole(bench, size) if name == "rollout" else ""
        rows.append(row(f"{size.length:,} tokens", name, base, pairs[name], note=note, **more))
    here = {name: peer for name, peer in PEERS.items() if peer.env is None or bench.has(peer.env)}
    return [*rows, *(_beside(bench, name, peer, size) for name, peer in here.items())]


def _beside(bench: Bench, name: str, peer: Peer, size: Size) -> Row:
    """A peer beside what it is compared with."""
    short = replace(size, length=min(size.length, peer.length))
    with bench.worker(__name__, short) as ours, bench.worker(peer.module, short, peer.env) as other:
        mine, theirs = ours.first(peer.ours), other.first(peer.theirs)
        pairs = compare(Runner(ours, peer.ours), {name: Runner(other, peer.theirs)}, bench.repeats(3), warm=False)
    gap = max(abs(a - b) for a, b in zip(mine.answer, theirs.answer, strict=True)) if peer.same else None
    sent = f"{theirs.answer[0] / 1e6:,.1f} MB against {mine.answer[0] / 1e6:,.1f} MB" if peer.theirs == "JSON" else ""
    more = {"memory": theirs.bytes, "against_memory": mine.bytes, "difference": gap, "note": sent}
    return row(f"{short.length:,} tokens", name, f"saccade, {peer.ours}", pairs[name], **more)


def _whole(bench: Bench, size: Size) -> str:
    """What whole matrices would take, and what comes of asking for them with too little room."""
    with bench.worker(__name__, size) as worker:
        failed = bool(worker.first("limited").answer[0])
    need = 4 * size.layers * size.heads * size.length**2
    ending = "fails" if failed else "fits"
    return (
        f"the matrices of all layers take {need / 1e9:.1f} GB; eager attention under a limit of {LIMIT / 1e9:.0f} GB "
        f"{ending}"
    )
