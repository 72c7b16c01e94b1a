"""The attention matrices that transformers itself can return: eager attention, kept whole or reduced as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.cases.model import QUICK, Size

__all__ = ["QUICK", "VARIANTS", "Size"]


def _model(size: Size) -> Any:
    return inputs.llama(size.layers, size.width, size.heads, size.length, "eager")


def _kept(size: Size) -> Callable[[], Tensor]:
    model, ids, columns = _model(size), inputs.tokens(1, size.length), inputs.onehot(size.length)

    def run() -> Tensor:
        attentions = model(input_ids=ids, use_cache=False, output_attentions=True).attentions
        return torch.stack([weights @ columns for weights in attentions])

    return run


def _reduced(size: Size) -> Callable[[], Tensor]:
    model, ids, columns = _model(size), inputs.tokens(1, size.length), inputs.onehot(size.length)

    def run() -> Tensor:
        masses: list[Tensor] = []
        hooks = [
            layer.self_attn.register_forward_hook(lambda _, __, output: masses.append(output[1] @ columns))
            for layer in model.model.layers
        ]
        try:
            model(input_ids=ids, use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(masses)

    return run


VARIANTS = {"output_attentions": _kept, "hooks": _reduced}
