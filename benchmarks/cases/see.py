"""Rollout, relevance and masses of a whole model: where whole matrices do not fit, and beside them where they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.harness import Bench, Row, Runner, compare, row

TITLE = "Across layers: 4 layers, width 512, 16,384 tokens"
BUDGET = 3 * 10**9
"""Bytes that a whole process may hold at 16,384 tokens."""


@dataclass(frozen=True)
class Size:
    """Shape of the llama."""

    length: int = 16384
    layers: int = 4
    width: int = 512
    heads: int = 8


QUICK = Size(length=64, layers=2, width=32, heads=2)
SHORT = 2048
"""Length at which the matrices of all layers still fit, for the peers."""


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


def _eager_rollout(size: Size) -> Callable[[], Tensor]:
    """The data path of BertViz and its like: every matrix of every layer, then a product of means."""
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


def _captum(size: Size) -> Callable[[], Tensor]:
    """Integrated gradients over the embeddings with captum, 8 steps: another answer to the same question."""
    from captum.attr import LayerIntegratedGradients

    model, ids = _model(size), inputs.tokens(1, size.length)
    attribution = LayerIntegratedGradients(
        lambda tokens: model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1, 0],
        model.get_input_embeddings(),
    )

    def run() -> Tensor:
        with torch.enable_grad():
            found: Tensor = attribution.attribute(ids, n_steps=8, internal_batch_size=1).sum(-1)
        return found[:, None]

    return run


def _first_logit(output: Any) -> Tensor:
    logits: Tensor = output.logits[:, -1, 0]
    return logits


LONG = {"masses": _masses, "rollout": _rollout, "relevance": _relevance}
PEERS = {"rollout": "rollout of whole matrices", "relevance": "relevance of whole matrices"}
VARIANTS = {
    "plain forward": _plain,
    **LONG,
    "rollout of whole matrices": _eager_rollout,
    "relevance of whole matrices": _eager_relevance,
    "captum": _captum,
}


def run(bench: Bench) -> list[Row]:
    """Memory of each in a fresh process, then in turn with the plain pass; peers at a length where they fit."""
    size = QUICK if bench.quick else Size()
    rows = []
    base = "plain forward"
    for name in LONG:
        with bench.worker(__name__, size) as plain, bench.worker(__name__, size) as ours:
            memory = {base: plain.first(base).bytes, name: ours.first(name).bytes}
            pairs = compare(Runner(plain, base), {name: Runner(ours, name)}, bench.repeats(2), warm=False)
        group = f"{size.length:,} tokens"
        more = {"memory": memory[name], "against_memory": memory[base], "extra_bar": BUDGET}
        rows.append(row(group, name, base, pairs[name], **more))
    short = replace(size, length=min(size.length, SHORT))
    peers = [*PEERS.items(), *([("relevance", "captum")] if _installed() else [])]
    for ours_name, peer in peers:
        with bench.worker(__name__, short) as ours, bench.worker(__name__, short) as other:
            mine, theirs = ours.first(ours_name), other.first(peer)
            pairs = compare(Runner(ours, ours_name), {peer: Runner(other, peer)}, bench.repeats(3), warm=False)
        gap = max(abs(a - b) for a, b in zip(mine.answer, theirs.answer, strict=True)) if peer != "captum" else None
        more = {"memory": theirs.bytes, "against_memory": mine.bytes, "difference": gap}
        rows.append(row(f"{short.length:,} tokens", peer, ours_name, pairs[peer], **more))
    if not _installed():
        bench.missing.append("captum")
    return rows


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("captum") is not None
