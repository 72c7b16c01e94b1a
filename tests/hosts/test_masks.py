"""Masks keep their structure: no matrix is built where causal, window and padding say it all."""

from __future__ import annotations

import pytest
import torch
from transformers import masking_utils as mu

import saccade as sc
from saccade.hosts.transformers import attach
from saccade.hosts.transformers.masks import StructuredMask, structured_mask

from .architectures import build
from .properties import spans_for

PADDING = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1]], dtype=torch.bool)
PATTERNS = {
    "causal": mu.causal_mask_function,
    "window": mu.sliding_window_causal_mask_function(3),
    "all": mu.bidirectional_mask_function,
    "near": mu.sliding_window_bidirectional_mask_function(2),
}


def arguments(function, padding=PADDING, queries=7, **more):
    sizes = {"batch_size": 2, "q_length": queries, "kv_length": 7, "q_offset": 7 - queries}
    return {**sizes, "mask_function": function, "attention_mask": padding, "allow_is_causal_skip": False, **more}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("build_mask", [mu.sdpa_mask, mu.eager_mask])
@pytest.mark.parametrize("queries", [7, 3])
def test_structure_says_what_the_matrix_says(pattern, build_mask, queries):
    given = arguments(PATTERNS[pattern], queries=queries)
    mask, wanted = structured_mask(build_mask, **given), build_mask(**given)
    assert isinstance(mask, StructuredMask)
    assert (mask.shape, mask.dtype, mask.device) == (wanted.shape, wanted.dtype, wanted.device)
    assert mask._built is None
    structure = mask.structure
    back = torch.arange(7)[-queries:, None] - torch.arange(7)
    visible = back >= 0 if structure.causal else torch.ones_like(back, dtype=torch.bool)
    if structure.window is not None:
        visible = visible & (back.abs() < structure.window)
    visible = visible & structure.key[:, None, None]
    assert torch.equal(visible, wanted if wanted.dtype == torch.bool else wanted == 0)
    assert torch.equal(mask[:, :, 1:], wanted[:, :, 1:])
    assert torch.equal(mask + 0, wanted + 0)


@pytest.mark.parametrize(
    "function",
    [
        mu.chunked_causal_mask_function(3, torch.zeros(2, dtype=torch.long)),
        mu.or_masks(mu.causal_mask_function, mu.blockwise_overlay(torch.tensor([[0, 0, 0, -1, -1, -1, -1]] * 2))),
        mu.packed_sequence_compatibility_function(
            mu.causal_mask_function, torch.arange(7).expand(2, -1), torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 2)
        ),
        lambda batch, head, query, key: key <= query,
    ],
)
def test_anything_else_stays_a_matrix(function):
    given = arguments(function)
    mask = structured_mask(mu.sdpa_mask, **given)
    assert not isinstance(mask, StructuredMask)
    assert torch.equal(mask, mu.sdpa_mask(**given))


def test_no_mask_where_the_original_needs_none():
    given = arguments(mu.causal_mask_function, padding=None, allow_is_causal_skip=True)
    assert structured_mask(mu.sdpa_mask, **given) is None
    given = arguments(mu.bidirectional_mask_function, padding=None, allow_is_bidirectional_skip=True)
    assert structured_mask(mu.sdpa_mask, **given) is None


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt_oss", "gpt2", "bert", "modernbert", "t5", "bart"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batches_never_build_the_matrix(name, side, monkeypatch):
    case = build(name)
    lm = attach(case.model)
    inputs = dict(case.inputs)
    inputs["attention_mask"] = inputs["attention_mask"].clone()
    inputs["attention_mask"][1, slice(0, 2) if side == "left" else slice(-2, None)] = 0

    def refuse(self):
        raise AssertionError("the matrix was built")

    monkeypatch.setattr(StructuredMask, "dense", refuse)
    with torch.no_grad(), lm.steer(sc.Scale("a", 2.0), spans=spans_for(case, lm)), lm.watch(sc.Entropy()):
        lm(**inputs)
