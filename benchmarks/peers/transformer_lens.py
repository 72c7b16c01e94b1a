"""TransformerLens: a TransformerBridge around the same model, patterns reduced in hooks or cached whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks import inputs
from benchmarks.cases.model import QUICK, Size

__all__ = ["QUICK", "VARIANTS", "Size"]


def _bridge(size: Size) -> Any:
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    model = inputs.llama(size.layers, size.width, size.heads, size.length, "eager")
    return build_bridge_from_module(model, "LlamaForCausalLM", hf_config=model.config)


def _is_pattern(name: str) -> bool:
    return name.endswith("hook_pattern")


def _plain(size: Size) -> Callable[[], object]:
    bridge, ids = _bridge(size), inputs.tokens(1, size.length)
    return lambda: bridge(ids)


def _hooks(size: Size) -> Callable[[], Tensor]:
    bridge, ids, columns = _bridge(size), inputs.tokens(1, size.length), inputs.onehot(size.length)

    def run() -> Tensor:
        masses: list[Tensor] = []

        def reduce(pattern: Tensor, hook: Any) -> None:
            masses.append(pattern @ columns)

        bridge.run_with_hooks(ids, fwd_hooks=[(_is_pattern, reduce)])
        return torch.stack(masses)

    return run


def _cache(size: Size) -> Callable[[], Tensor]:
    bridge, ids, columns = _bridge(size), inputs.tokens(1, size.length), inputs.onehot(size.length)

    def run() -> Tensor:
        _, cache = bridge.run_with_cache(ids, names_filter=_is_pattern)
        return torch.stack([pattern @ columns for pattern in cache.values()])

    return run


def _rollout(size: Size) -> Callable[[], Tensor]:
    """From the last token, of all cached patterns."""
    bridge, ids = _bridge(size), inputs.tokens(1, size.length)

    def run() -> Tensor:
        _, cache = bridge.run_with_cache(ids, names_filter=_is_pattern)
        last = torch.zeros(1, size.length)
        last[:, -1] = 1
        for pattern in reversed(list(cache.values())):
            last = 0.5 * torch.einsum("bi,bij->bj", last, pattern.mean(1)) + 0.5 * last
        return last[:, None]

    return run


VARIANTS = {"plain": _plain, "hooks": _hooks, "cache": _cache, "rollout": _rollout}
