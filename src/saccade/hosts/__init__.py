"""Where attention lives: hosts that let the engine see and steer the attention of whole models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from saccade.core.errors import HostError

from .base import Host
from .operator import Operator
from .report import EditEffect, Effect, Seen, Series

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .transformers.attach import TransformersHost


@overload
def attach(model: PreTrainedModel, tokenizer: Any = None) -> TransformersHost: ...


@overload
def attach(model: Any, tokenizer: Any = None) -> Host: ...


def attach(model: Any, tokenizer: Any = None) -> Host:
    """Attach a model: see and steer its attention through the returned host.

    Args:
        model: a transformers model, a module that holds one (such as a ``SentenceTransformer``), or any module whose
            code calls ``scaled_dot_product_attention``.
        tokenizer: the model's tokenizer, for prompts and for generated text.

    Returns:
        The host; also a context manager that detaches on leaving.

    Raises:
        HostError: nothing in the model can be reached, and why.
    """
    from transformers import PreTrainedModel

    found = {path: module for path, module in model.named_modules() if isinstance(module, PreTrainedModel)}
    outer = [path for path in found if not any(path != other and _inside(path, other) for other in found)]
    if len(outer) > 1:
        raise HostError(f"{type(model).__name__} holds several transformers models, at {outer}: attach one of them.")
    if outer:
        from .transformers import attach as attach_transformers

        return attach_transformers(found[outer[0]], tokenizer or getattr(model, "tokenizer", None))
    from .torch import attach as attach_torch

    return attach_torch(model)


def _inside(path: str, other: str) -> bool:
    return not other or path.startswith(f"{other}.")


__all__ = ["EditEffect", "Effect", "Host", "Operator", "Seen", "Series", "attach"]
