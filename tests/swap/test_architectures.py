"""Softmax swapped into every hosted decoder, encoder and vision model gives what the model gave, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import saccade as sc
from hosts.architectures import CASES, WORDS, Architecture

REFUSED = {
    "gemma2": "caps its logits",
    "gpt_oss": "attention sinks",
    "deepseek_v3": "values of width",
    "diffllama": "calls its attention function 2 times",
    "gemma3n": "keeps no keys of its own",
    "doge": "takes masks",
    "swin": "takes masks",
}
KINDS = ("decoder", "encoder", "vision")
LENGTH = 4
"""Below the sliding windows of the table."""


def tiny(name: str) -> Any:
    case = CASES[name]
    cls = getattr(transformers, case.model)
    torch.manual_seed(0)
    return cls(cls.config_class(**case.config)).eval()


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.kind in KINDS])
def test_softmax(name: str) -> None:
    case: Architecture = CASES[name]
    model = tiny(name)
    inputs = {} if case.kind == "vision" else {"input_ids": torch.randint(3, WORDS, (2, LENGTH))}
    inputs |= case.inputs(2) if case.inputs else {}
    with torch.no_grad():
        before = model(**inputs)[0]
        if name in REFUSED:
            with pytest.raises(sc.HostError, match=REFUSED[name]):
                sc.swap(model, "softmax")(**inputs)
        else:
            torch.testing.assert_close(sc.swap(model, "softmax")(**inputs)[0], before, rtol=1e-5, atol=1e-5)
        assert torch.equal(sc.swap(model, None)(**inputs)[0], before)


@torch.no_grad()
def test_encoder_decoder(tmp_path: Path) -> None:
    model, ids = tiny("bart"), torch.randint(3, WORDS, (2, LENGTH))
    before, ways = model.generate(ids, max_new_tokens=5, do_sample=False), {"max_new_tokens": 5, "do_sample": False}
    sc.swap(model, "softmax", layers="*.self")
    assert torch.equal(model.generate(ids, **ways), before)
    sc.swap(model, "lightning", layers="decoder.*")
    sc.swap(model, "galerkin", layers="encoder.*")
    written = model.generate(ids, **ways)
    assert torch.equal(model.generate(ids, **ways, use_cache=False), written)
    model.save_pretrained(tmp_path)
    assert torch.equal(sc.load_swapped(tmp_path).generate(ids, **ways), written)


def test_a_language_model_that_sees() -> None:
    model = sc.swap(tiny("llava"), "hedgehog")
    assert list(model.config.saccade) == ["text.0.self", "text.1.self"]


@pytest.mark.parametrize(
    ("name", "message"), [("t5", "learned bias"), ("whisper", "could not be run"), ("clip", "could not")]
)
def test_models_that_say_why_not(name: str, message: str) -> None:
    with pytest.raises(sc.HostError, match=message):
        sc.swap(tiny(name), "softmax")
