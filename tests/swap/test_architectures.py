"""Softmax swapped into every hosted decoder, encoder and vision model gives what the model gave, or says why not."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.kind in KINDS])
def test_softmax(name: str) -> None:
    case: Architecture = CASES[name]
    cls = getattr(transformers, case.model)
    torch.manual_seed(0)
    model = cls(cls.config_class(**case.config)).eval()
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
