"""[88] Heads of a real encoder look at offsets, at delimiters or broadly, and know grammar."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import trace
from saccade.see.bert import Probe, offset_accuracy, relation_accuracy, rows, study, token_pairs

from .encoder import encoder
from .english import RELATIONS, prompt, sentences

OFFSETS = range(-4, 5)
BAR_HEAD, BAR_PROBE, BAR_DELIMITER, BAR_LAYER = 0.05, 0.02, 0.3, 0.0


@claim(
    88,
    "for relations of grammar one head of a real encoder beats the best fixed offset, a probe that sees attention "
    "alone beats it further, some heads mostly look at delimiters, and heads of a layer resemble each other",
    uses=("saccade.see.bert", "saccade.see.trace"),
)
def run(quick: bool, seed: int) -> Result:
    """Real encoder, sentences of a small grammar; a unit is a sentence. Heads and offsets are chosen on others.

    Accuracy is the share of a sentence's relations (object to verb, subject to verb, object of a preposition to
    preposition, adjective and determiner to noun) whose other word is found.
    """
    choosing, measuring = (40, 40) if quick else (120, 120)
    lm = encoder()
    train, test = sentences(choosing, 200 + seed), sentences(measuring, 10_200 + seed)
    (made, words), (fresh, fresh_words) = prompt(lm, train), prompt(lm, test)
    whole, fresh_whole = rows(trace(lm, made)), rows(trace(lm, fresh))
    layers, heads = whole.shape[0], whole.shape[2]
    allowed, fresh_allowed = words >= 0, fresh_words >= 0
    hits: dict[str, list[list[float]]] = {name: [[] for _ in test] for name in ("offset", "head", "probe", "any head")}
    chosen = {}
    for relation in RELATIONS:
        pairs = token_pairs([one.pairs[relation] for one in train], words)
        measured = token_pairs([one.pairs[relation] for one in test], fresh_words)
        offset = max(OFFSETS, key=lambda at: offset_accuracy(pairs, at))
        accuracy = relation_accuracy(whole, pairs, allowed)
        layer, head = divmod(int(accuracy.argmax()), heads)
        probe = Probe(layers, heads).fit(whole, pairs, allowed, steps=100)
        right = probe.accuracy(fresh_whole, measured, fresh_allowed).tolist()
        each = iter(right)
        for sample, some in enumerate(measured):
            for pair in some:
                one = relation_accuracy(fresh_whole[:, [sample]], [[pair]], fresh_allowed[[sample]])
                hits["offset"][sample].append(float(pair[1] - pair[0] == offset))
                hits["head"][sample].append(float(one[layer, head]))
                hits["any head"][sample].append(float(one.mean()))
                hits["probe"][sample].append(next(each))
        chosen[relation] = {
            "offset": offset,
            "head": f"L{layer}H{head}",
            "offset accuracy": round(offset_accuracy(measured, offset), 3),
            "head accuracy": round(float(relation_accuracy(fresh_whole, measured, fresh_allowed)[layer, head]), 3),
            "probe accuracy": round(float(np.mean(right)), 3),
        }
    share = {name: np.array([np.mean(one) for one in each]) for name, each in hits.items()}
    seen = study(lm, made)
    delimiter = divmod(int(seen.delimiters.argmax()), heads)
    again = study(lm, fresh)
    mass = mass_on_delimiters(lm, fresh, delimiter)
    uniform = np.array([2 / int(n) for n in fresh.attention_mask.sum(-1)])
    near, far = again.same_layer()
    layer_of = torch.arange(layers).repeat_interleave(heads)
    own = (layer_of[:, None] == layer_of) & ~torch.eye(len(layer_of), dtype=torch.bool)
    other = layer_of[:, None] != layer_of
    by_head = torch.stack(
        [(again.distance * own).sum(1) / own.sum(1), (again.distance * other).sum(1) / other.sum(1)], 1
    ).numpy()
    found = "relations found"

    def compare(metric: str, baseline: Any, method: Any, bar: float) -> Comparison:
        return Comparison(metric, np.stack([baseline, method], 1), bar)

    return Result(
        compare(f"{found}: best offset against best head", share["offset"], share["head"], BAR_HEAD),
        (
            compare(f"{found}: best head against probe", share["head"], share["probe"], BAR_PROBE),
            compare(f"{found}: mean head against best head", share["any head"], share["head"], BAR_HEAD),
            compare("mass on delimiters: uniform against the head that looks there most", uniform, mass, BAR_DELIMITER),
            Comparison("divergence between heads: own layer against other layers", by_head, BAR_LAYER),
        ),
        {
            "relations": chosen,
            "delimiter head": f"L{delimiter[0]}H{delimiter[1]}",
            "entropy by layer": [round(float(x), 3) for x in again.entropy.mean(1)],
            "entropy of uniform attention": round(again.entropy_uniform, 3),
            "broad heads": [f"L{a}H{b}" for a, b in again.broad()],
            "attention one token back": [round(float(x), 3) for x in again.offsets[-1].amax(1)],
            "divergence within and between layers": [round(near, 3), round(far, 3)],
        },
    )


def mass_on_delimiters(lm: Any, made: Any, head: tuple[int, int]) -> Any:
    """Mean mass of one head on the delimiters, by sample."""
    whole = rows(trace(lm, made))[head[0], :, head[1]]
    delimiter = torch.isin(made.input_ids, torch.tensor(lm.tokenizer.all_special_ids)) & made.attention_mask.bool()
    inner = (made.attention_mask.bool() & ~delimiter).float()
    mass = (whole * delimiter[:, None]).sum(-1)
    return ((mass * inner).sum(-1) / inner.sum(-1)).double().numpy()
