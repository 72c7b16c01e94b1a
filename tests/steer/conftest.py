"""A tiny random llama with grouped heads and a tokenizer of words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import saccade as sc
from hosts.architectures import loosen
from saccade.zoo.tokenizers import word_tokenizer

WORDS = [*"abcdefghijklmnopqrstuvwxyz", "."]


def tiny(layers: int = 3) -> tuple[LlamaForCausalLM, object]:
    tokenizer = word_tokenizer(WORDS)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=len(tokenizer),
            max_position_embeddings=128,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=None,
        )
    ).eval()
    loosen(model)
    return model, tokenizer


@pytest.fixture
def lm() -> Iterator[sc.hosts.Host]:
    with torch.no_grad(), sc.attach(*tiny()) as host:
        yield host
