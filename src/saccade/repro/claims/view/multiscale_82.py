"""[82] BertViz: views of one head, of all heads and of single dimensions, small enough to open."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade.prompt import Prompt
from saccade.repro.claims.meas.encoder import encoder
from saccade.repro.claims.meas.english import sentences
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import saving
from saccade.viewer import Capture, capture, pack, unpack
from saccade.viewer.neurons import products_of

SIZES = {
    "vocab_size": 48,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
LENGTH, ASKING, ASKED = 24, 6, 2
"""Tokens of a prompt; how many of them ask, and how many they ask for."""
MARK, GAIN = 1.0, 6.0
"""Size of the marks in the embeddings of both kinds of token, and of the planted query and key."""
BAR_FOUND, BAR_EXACT, BAR_SMALL = 0.8, 1.0, 10.0
LOGIT = 1e-3
"""A sum of products may be off by so much of a logit, relative to the largest."""


@claim(
    82,
    "the model view leads to a planted head, the head view to what it reads, the neuron view to the dimension that "
    "makes it so; on a real encoder the three views are the dense attention within their quantisation, in less than a "
    "tenth of the bytes of the matrices as JSON",
    uses=("saccade.viewer",),
)
def run(quick: bool, seed: int) -> Result:
    """Planted: random encoders, a unit each; the control is the same encoder without the plant.

    Tokens of one kind ask for tokens of another: one dimension of one head gets a query of the first kind's mark and a
    key of the second's. All three have to be named from the bytes that a browser gets: layer and head with the largest
    mass on the asked tokens, the key with the largest weight, the dimension with the largest product.

    Real: the encoder on pairs of sentences, a unit each. The step of the quantisation over the largest error, for the
    rows that were kept and for the map; for the neuron view the tolerance over the error of the logits. Bytes: the
    matrices as JSON lists, as the pages of BertViz hold them, over those of the capture.
    """
    planted = np.array(
        [[found(seed * 1000 + i, False), found(seed * 1000 + i, True)] for i in range(8 if quick else 40)]
    )
    rows, maps, logits, sizes = real(3 if quick else 20, seed)
    return Result(
        Comparison("head, key and dimension named: nothing planted against planted", planted, BAR_FOUND),
        (
            Comparison("step of kept weights over their largest error", rows, BAR_EXACT, saving),
            Comparison("step of the map over its largest error", maps, BAR_EXACT, saving),
            Comparison("tolerance over the largest error of summed products", logits, BAR_EXACT, saving),
            Comparison("bytes: matrices as JSON over the capture", sizes, BAR_SMALL, saving),
        ),
    )


def found(seed: int, plant: bool) -> float:
    """Whether the views name the head, the key and the dimension that were planted."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    model = BertModel(BertConfig(**SIZES), add_pooling_layer=False).eval()
    layers, heads, dim = SIZES["num_hidden_layers"], SIZES["num_attention_heads"], SIZES["hidden_size"]
    width = dim // heads
    layer, head, dimension = (int(torch.randint(n, (), generator=draw)) for n in (layers, heads, width))
    marks = torch.linalg.qr(torch.randn(dim, 2, generator=draw))[0].T
    words = torch.arange(1, SIZES["vocab_size"])
    askers, asked = words[: len(words) // 3], words[len(words) // 3 : 2 * len(words) // 3]
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table[askers] += MARK * marks[0]
        table[asked] += MARK * marks[1]
        if plant:
            part = model.encoder.layer[layer].attention.self
            part.query.weight[head * width + dimension] = GAIN * marks[0] / MARK
            part.key.weight[head * width + dimension] = GAIN * marks[1] / MARK
    ids = words[2 * len(words) // 3 :][torch.randint(len(words) // 3, (1, LENGTH), generator=draw)]
    places = torch.randperm(LENGTH, generator=draw)
    asking, wanted = places[:ASKING], places[ASKING : ASKING + ASKED]
    ids[0, asking] = askers[torch.randint(len(askers), (ASKING,), generator=draw)]
    ids[0, wanted] = asked[torch.randint(len(asked), (ASKED,), generator=draw)]
    with sc.attach(model) as lm:
        prompt = made(ids, wanted)
        seen = unpack(pack(capture(lm, prompt)))
        model_view = seen.measures["mass.asked"]
        site, best = divmod(int(model_view.argmax()), heads)
        query = int(asking[0])
        head_view = int(seen.indices[site, best, query, 0])
        products = products_of(lm, prompt, seen.sites[site][0], query, head_view)[best]
    right = (site, best, int(products.argmax())) == (layer, head, dimension) and head_view in wanted.tolist()
    return float(right)


def made(ids: Tensor, wanted: Tensor) -> Prompt:
    """A prompt of token ids, with a span."""
    held = torch.zeros(ids.shape, dtype=torch.bool)
    held[0, wanted] = True
    words = tuple(str(one) for one in ids[0].tolist())
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return Prompt(inputs, sc.Spans({"asked": held}), (" ".join(words),), (words,), (((0, 0),) * len(words),))


def real(count: int, seed: int) -> tuple[Any, Any, Any, Any]:
    """By pair of sentences: steps and errors of kept rows, map and products; bytes of JSON and of a capture."""
    lm, eager = encoder(), encoder().model
    eager.set_attn_implementation("eager")
    found = []
    drawn = [one.text for one in sentences(2 * count, 9_100 + seed)]
    for number, pair in enumerate(zip(drawn[::2], drawn[1::2], strict=True)):
        prompt = lm.prompt(" ".join(pair))
        with torch.no_grad():
            weights = torch.stack(eager(**prompt.inputs, output_attentions=True).attentions)[:, 0].double()
        data = pack(capture(lm, prompt))
        row, cell = errors(unpack(data), weights.numpy())
        sizes = (float(len(json.dumps(weights.float().tolist()))), float(len(data)))
        found.append((row, cell, neurons(lm, prompt, weights, number), sizes))
    rows, maps, logits, all_sizes = (np.array(pairs) for pairs in zip(*found, strict=True))
    return rows, maps, logits, all_sizes


def errors(seen: Capture, weights: Any) -> list[tuple[float, float]]:
    """Step and largest error of the kept rows, then of the map."""
    kept = np.take_along_axis(weights, seen.indices.astype(np.int64), -1)
    row = np.abs(seen.weights / 65535 - kept).max()
    step = seen.scale[..., None, None] / 255
    map_error = (np.abs(seen.pooled * step - weights) / step).max()
    return [(1 / 65535, float(row)), (1.0, float(map_error))]


def neurons(lm: Any, prompt: Prompt, weights: Tensor, number: int) -> tuple[float, float]:
    """Tolerance and error of the logits of one query and two keys: their difference is that of the log weights."""
    length = len(prompt.tokens[0])
    layer = number % len(weights)
    query, first, second = number % length, (3 * number) % length, (5 * number + 1) % length
    site = lm.sites[layer].name
    sums = [products_of(lm, prompt, site, query, key).astype(np.float64).sum(-1) for key in (first, second)]
    logs = weights[layer, :, query].log().numpy()
    gap = np.abs((sums[0] - sums[1]) - (logs[:, first] - logs[:, second])).max()
    return LOGIT, float(max(gap, 1e-12))
