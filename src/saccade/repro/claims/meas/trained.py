"""Small Llama models that a claim trains by itself, for what no model of the zoo does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100
Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]
"""Tokens ``[B, N]``, and what each position has to foretell ``[B, N]``, ``IGNORED`` where nothing."""


def llama(vocabulary: int, draw: Draw, *, layers: int, steps: int, seed: int, dim: int = 64, rate: float = 3e-3) -> Any:
    """A Llama with heads 16 wide, trained from scratch with AdamW, warm-up and cosine decay."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=dim,
                intermediate_size=2 * dim,
                num_hidden_layers=layers,
                num_attention_heads=dim // 16,
                num_key_value_heads=dim // 16,
                max_position_embeddings=64,
                tie_word_embeddings=False,
            )
        )
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm = max(steps // 20, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min((i + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * i / steps))
    )
    for _ in range(steps):
        tokens, wanted = draw(generator)
        logits = model(input_ids=tokens).logits
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()
