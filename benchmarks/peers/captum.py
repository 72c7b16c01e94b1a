"""captum: integrated gradients over the embeddings, another answer to what a prediction rests on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.cases.model import QUICK, Size

__all__ = ["QUICK", "VARIANTS", "Size"]

STEPS = 8


def _integrated(size: Size) -> Callable[[], Tensor]:
    from captum.attr import LayerIntegratedGradients

    model = inputs.llama(size.layers, size.width, size.heads, size.length)
    ids = inputs.tokens(1, size.length)
    attribution = LayerIntegratedGradients(
        lambda tokens: model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1, 0],
        model.get_input_embeddings(),
    )

    def run() -> Tensor:
        with torch.enable_grad():
            found: Tensor = attribution.attribute(ids, n_steps=STEPS, internal_batch_size=1).sum(-1)
        return found[:, None]

    return run


VARIANTS = {"integrated gradients": _integrated}
