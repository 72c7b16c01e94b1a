"""Tiny models to swap in: dim 32, 4 heads of 8, two layers."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

WORDS, LENGTH = 24, 9
SIZES = {"vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
COMMON = {
    **SIZES,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {**COMMON, "num_key_value_heads": 2}),
    "gpt_neox": ("GPTNeoXForCausalLM", COMMON),
    "bert": ("BertForMaskedLM", {**COMMON, "attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}),
    "mistral": ("MistralForCausalLM", {**COMMON, "num_key_value_heads": 2, "sliding_window": None}),
    "qwen2": ("Qwen2ForCausalLM", {**COMMON, "num_key_value_heads": 2}),
    "qwen3": ("Qwen3ForCausalLM", {**COMMON, "num_key_value_heads": 2, "head_dim": 16}),
    "granite": ("GraniteForCausalLM", {**COMMON, "num_key_value_heads": 2, "attention_multiplier": 0.5}),
    "gpt2": (
        "GPT2LMHeadModel",
        {
            "vocab_size": WORDS,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
            "initializer_range": 0.2,
            "scale_attn_by_inverse_layer_idx": True,
            "bos_token_id": 1,
            "eos_token_id": None,
            "pad_token_id": 0,
        },
    ),
}


def make(architecture: str, seed: int = 0, **changes: Any) -> Any:
    """A random model in evaluation mode."""
    name, config = CONFIGS[architecture]
    cls = getattr(transformers, name)
    torch.manual_seed(seed)
    return cls(cls.config_class(**{**config, **changes})).eval()


def tokens(batch: int = 2, length: int = LENGTH, seed: int = 0) -> Tensor:
    """Random token ids without padding."""
    return torch.randint(1, WORDS, (batch, length), generator=torch.Generator().manual_seed(seed))


def padded(ids: Tensor, lengths: list[int], side: str) -> dict[str, Tensor]:
    """The first ``lengths[b]`` tokens of each row, padded on one side; positions as ``generate`` sets them."""
    width = max(lengths)
    out, mask = torch.zeros(len(ids), width, dtype=torch.long), torch.zeros(len(ids), width, dtype=torch.long)
    for b, n in enumerate(lengths):
        where = slice(width - n, width) if side == "left" else slice(0, n)
        out[b, where], mask[b, where] = ids[b, :n], 1
    return {"input_ids": out, "attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp_min(0)}
