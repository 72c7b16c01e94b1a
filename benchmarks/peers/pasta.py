"""PASTA's technique [2311.02262]: a float mask of every head, row and key, edited on its way into each layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.cases.model import QUICK, STEERED, Size

__all__ = ["QUICK", "VARIANTS", "Size"]
ALPHA = 0.01


def _masked(size: Size) -> Callable[[], Tensor]:
    model, ids = inputs.llama(size.layers, size.width, size.heads, size.length), inputs.tokens(1, size.length)
    outside = ~inputs.members(size.length)["rule"][0]
    heads = list(range(size.heads // 2))

    def edit(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        mask = kwargs["attention_mask"].expand(-1, size.heads, -1, -1).clone()
        mask[:, heads] += outside * math.log(ALPHA)
        return args, {**kwargs, "attention_mask": mask}

    def run() -> Tensor:
        hidden = torch.ones(size.length, size.length, dtype=torch.bool).triu(1)
        mask = torch.zeros(1, 1, size.length, size.length).masked_fill(hidden, torch.finfo(torch.float32).min)
        layers = [model.model.layers[index] for index in STEERED if index < size.layers]
        hooks = [layer.self_attn.register_forward_pre_hook(edit, with_kwargs=True) for layer in layers]
        try:
            logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        finally:
            for hook in hooks:
                hook.remove()
        return logits

    return run


VARIANTS = {"mask": _masked}
