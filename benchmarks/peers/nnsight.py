"""nnsight: a trace of the same model on eager attention, each layer's weights reduced inside the trace."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.cases.model import QUICK, Size

__all__ = ["QUICK", "VARIANTS", "Size"]


def _plain(size: Size) -> Callable[[], object]:
    model = inputs.llama(size.layers, size.width, size.heads, size.length)
    ids = inputs.tokens(1, size.length)
    return lambda: model(input_ids=ids, use_cache=False)


def _trace(size: Size) -> Callable[[], Tensor]:
    from nnsight import NNsight

    model = NNsight(inputs.llama(size.layers, size.width, size.heads, size.length, "eager"))
    ids, columns = inputs.tokens(1, size.length), inputs.onehot(size.length)

    def run() -> Tensor:
        with model.trace(input_ids=ids, use_cache=False):
            masses = list().save()  # noqa: C408
            for layer in model.model.layers:
                masses.append(layer.self_attn.output[1] @ columns)
        return torch.stack(masses)

    return run


VARIANTS = {"plain": _plain, "trace": _trace}
