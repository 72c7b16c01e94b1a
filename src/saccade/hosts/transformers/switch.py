"""Turning a model's attention over to Saccade while some context is open, and back when the last one closes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel, masking_utils

NAME = "saccade"

_lock = threading.RLock()
_switched: dict[int, _Switched] = {}


class _Switched:
    """A configuration whose attention name is ours for now."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.original: str | None = config._attn_implementation
        self.users = 0


def register(attention: Callable[..., Any], mask: Callable[..., Any]) -> None:
    """Make the attention function and its mask function known to transformers. Models are not changed."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)


def original_of(config: Any) -> str | None:
    """The attention name that a configuration has while no context is open."""
    held = _switched.get(id(config))
    name = held.original if held is not None else config._attn_implementation
    return None if name == NAME else name


def configs_of(model: nn.Module, sites: Iterable[nn.Module]) -> list[Any]:
    """Every configuration that decides which attention or which mask the given sites get."""
    modules = list(sites)
    found: dict[int, Any] = {id(module.config): module.config for module in modules}
    inside = {id(module) for module in modules}
    for submodel in model.modules():
        if isinstance(submodel, PreTrainedModel) and any(id(module) in inside for module in submodel.modules()):
            found[id(submodel.config)] = submodel.config
    return list(found.values())


def switch(configs: Iterable[Any]) -> None:
    """Name Saccade as the attention of some configurations. Every call is undone by one :func:`restore`."""
    with _lock:
        for config in configs:
            held = _switched.setdefault(id(config), _Switched(config))
            held.users += 1
            config._attn_implementation_internal = NAME


def restore(configs: Iterable[Any]) -> None:
    """Undo one :func:`switch`; the last one gives the original name back."""
    with _lock:
        for config in configs:
            held = _switched[id(config)]
            held.users -= 1
            if held.users == 0:
                del _switched[id(config)]
                if config._attn_implementation == NAME:
                    config._attn_implementation_internal = held.original


def mask_builder(config: Any) -> Callable[..., Any]:
    """The mask function of a configuration's original attention."""
    original = original_of(config) if config is not None else None
    builder: Callable[..., Any] = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS.get(original, masking_utils.eager_mask)
    return builder
