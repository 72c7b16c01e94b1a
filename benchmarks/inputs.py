"""Inputs that cases share: tensors, spans, a llama with random weights. Every process draws the same numbers."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

SEED = 0
VOCABULARY = 1024
PLACES = {"system": (0.00, 0.06), "rule": (0.10, 0.15), "document": (0.25, 0.60), "question": (0.85, 0.95)}
"""Four spans, as fractions of the length; between them lie tokens of no span."""


def tensors(batch: int, heads: int, length: int, width: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random queries, keys and values ``[B, H, N, D]``."""
    generator = torch.Generator().manual_seed(SEED)
    return [torch.randn(batch, heads, length, width, generator=generator).to(dtype) for _ in range(3)]


def ranges(length: int, start: int = 0) -> dict[str, tuple[int, int]]:
    """The four spans over the tokens ``[start, length)``."""
    size = length - start
    return {name: (start + int(a * size), start + int(b * size)) for name, (a, b) in PLACES.items()}


def members(length: int, pads: tuple[int, ...] = (0,)) -> dict[str, Tensor]:
    """The four spans as boolean ``[B, length]``, one row for each number of padding tokens on the left."""
    places = [ranges(length, pad) for pad in pads]
    keys = torch.arange(length)
    return {name: torch.stack([(keys >= p[name][0]) & (keys < p[name][1]) for p in places]) for name in PLACES}


def onehot(length: int) -> Tensor:
    """The four spans as columns ``[length, 4]``."""
    return torch.stack([member[0] for member in members(length).values()], dim=-1).float()


def tokens(batch: int, length: int) -> Tensor:
    """Random token ids ``[B, N]``."""
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(SEED))


@functools.lru_cache(maxsize=2)
def llama(layers: int, width: int, heads: int, length: int, attention: str = "sdpa") -> Any:
    """A llama with random weights and small vocabulary, so that attention is not hidden behind the head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=length,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        attn_implementation=attention,
    )
    torch.manual_seed(SEED)
    return LlamaForCausalLM(config).eval()
