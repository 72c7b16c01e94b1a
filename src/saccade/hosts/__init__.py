"""Where attention lives: hosts that let the engine see and steer the attention of whole models."""

from __future__ import annotations

from typing import Any

from .base import Host
from .report import EditEffect, Effect, Seen, Series


def attach(model: Any, tokenizer: Any = None) -> Host:
    """Attach a model: see and steer its attention through the returned host.

    Args:
        model: a transformers model, or any module whose code calls ``scaled_dot_product_attention``.
        tokenizer: the model's tokenizer, for prompts and for generated text.

    Returns:
        The host; also a context manager that detaches on leaving.

    Raises:
        HostError: nothing in the model can be reached, and why.
    """
    from .transformers import attach as attach_transformers

    return attach_transformers(model, tokenizer)


__all__ = ["EditEffect", "Effect", "Host", "Seen", "Series", "attach"]
