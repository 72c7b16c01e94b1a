"""Attention for training short sequences in bfloat16 on a CPU, where the fused kernel's backward pass is slow."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface

NAME = "saccade_short"
BLOCK = 128


def short_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention by blocks of 128 query rows, each against the keys up to its end.

    query [B,Hq,N,D], key and value [B,Hkv,N,D], Hq a multiple of Hkv; gives [B,N,Hq,D]. Takes no mask: batches are
    padded on the right, where causality hides the padding.
    """
    batch, heads, length, width = query.shape
    shared = key.shape[1]
    group = heads // shared
    scale = width**-0.5 if scaling is None else scaling
    keys = key.reshape(batch * shared, length, width).transpose(1, 2)
    values = value.reshape(batch * shared, length, width)
    out = []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        rows = query[:, :, start:stop].reshape(batch * shared, group * (stop - start), width)
        hidden = torch.full((stop - start, stop), float("-inf"), dtype=query.dtype, device=query.device).triu(start + 1)
        scores = torch.baddbmm(hidden.repeat(group, 1), rows, keys[:, :, :stop], alpha=scale)
        out.append(torch.bmm(scores.softmax(-1), values[:, :stop]).view(batch, heads, stop - start, width))
    return torch.cat(out, 2).transpose(1, 2), None


def use_short_attention(model: Any) -> None:
    """Make a transformers model use `short_attention`; undone by `model.set_attn_implementation("sdpa")`."""
    AttentionInterface.register(NAME, short_attention)
    model.set_attn_implementation(NAME)
