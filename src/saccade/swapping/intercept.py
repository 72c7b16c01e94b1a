"""Sending one attention module of a model, and no other, to a function of ours.

transformers looks an attention function up by the name in ``module.config``. A swapped module gets a copy of its
configuration with our name in it; what shall run travels in the module's own keyword arguments. The model's own
configuration, and with it every other layer and every mask, stays as it was.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface

from saccade.core.errors import HostError

NAME, CALL = "saccade_swap", "saccade_call"

Attend = Callable[..., Tensor]
"""``(module, q [B,Hq,Q,D], k [B,Hkv,K,D], v [B,Hkv,K,Dv], mask, **kwargs) -> [B,Hq,Q,Dv]``."""


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """The attention function that transformers calls: it runs what the module was called with."""
    attend: Attend | None = kwargs.pop(CALL, None)
    if attend is None:
        raise HostError(
            f"{type(module).__name__} does not pass its keyword arguments on to its attention function, so a "
            "mechanism cannot stand behind its projections; swap in a layer mechanism instead."
        )
    return attend(module, query, key, value, attention_mask, **kwargs).transpose(1, 2).contiguous(), None


def redirected(config: Any) -> Any:
    """A copy of a configuration under which a module calls :func:`attention`."""
    AttentionInterface.register(NAME, attention)
    config = copy.copy(config)
    config._attn_implementation_internal = NAME
    return config


def parameters_of(module: nn.Module) -> tuple[str, ...]:
    """Names of the parameters of a module's ``forward``, ``self`` left out."""
    return tuple(inspect.signature(type(module).forward).parameters)[1:]


def by_name(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by the names of their parameters."""
    return {**dict(zip(names, args, strict=False)), **kwargs}
