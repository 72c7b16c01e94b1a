"""Which tokens are real, read off the mask that a model made for its own attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from saccade.core.errors import HostError

Reading = dict[tuple[int, ...], Tensor | None]
_read: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def real_tokens(mask: Any, batch: int, queries: int, before: int, causal: bool) -> Tensor | None:
    """Which of the ``queries`` new tokens are real: bool [B, Q], or None if all are.

    A mechanism takes padding and causality, and nothing else; a mask that says more raises.

    mask    as transformers makes them: None, [B,K] (True or 1 = token), or [B,1,Q,K], boolean (True = visible) or
            float (0 or a very negative number); K may count unused slots after the last token
    before  tokens that came in earlier calls
    """
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        raise HostError(f"swapped layers do not read masks of type {type(mask).__name__}; load with 'sdpa' or 'eager'.")
    memory: Reading = _read.setdefault(mask, {})
    key = (batch, queries, before, causal, mask._version)
    if key not in memory:
        memory[key] = _real_tokens(mask, batch, queries, before, causal)
    return memory[key]


def _real_tokens(mask: Tensor, batch: int, queries: int, before: int, causal: bool) -> Tensor | None:
    first = max(min(before, mask.shape[-1] - queries), 0)
    flat = mask.dim() == 2
    real = mask[:, first : first + queries].bool() if flat else _diagonal(mask, queries, first, causal)
    real = real.expand(batch, -1)
    return None if bool(real.all()) else real


def _diagonal(mask: Tensor, queries: int, first: int, causal: bool) -> Tensor:
    """Real tokens [B, Q] are those that see themselves; the rest of the mask must follow from that."""
    if mask.dim() != 4 or mask.shape[1] != 1 or mask.shape[2] != queries:
        raise HostError(
            f"a swapped layer takes masks [batch, tokens] or [batch, 1, queries, keys], found {list(mask.shape)}."
        )
    visible = mask[:, 0] if mask.dtype == torch.bool else mask[:, 0] == 0
    new, old = visible[:, :, first : first + queries], visible[:, :, :first]
    real = new.diagonal(dim1=1, dim2=2)
    rows = real[:, :, None]
    expected = real[:, None, :].expand_as(new)
    expected = expected.tril() if causal else expected
    mixed = (old & rows).any(dim=1) & ~(old | ~rows).all(dim=1)
    graded = mask.dtype != torch.bool and bool(((mask[:, 0] != 0) & (mask[:, 0] > -1e4)).any())
    if graded or bool(mixed.any()) or bool(((new != expected) & rows).any()):
        pattern = "causal" if causal else "bidirectional"
        raise HostError(
            f"the mask is not that of {pattern} attention with padding, and a mechanism knows nothing else: sliding "
            "windows, packed sequences, prefixes and biases are lost in a swap. For a sliding window set "
            "model.config.sliding_window = None and layer_types to full attention; unpack sequences into a batch."
        )
    return real
