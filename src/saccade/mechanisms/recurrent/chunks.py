"""Tokens laid out in chunks that begin at fixed positions, wherever a call begins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Layout:
    """Where the N new tokens of each sample stand in its chunks of ``size`` tokens.

    size   tokens of a chunk
    start  [B] tokens before this call
    real   [B] new tokens
    phase  [B] slots of the first chunk that earlier tokens fill
    token  [B,slots] index of the new token in each slot; negative: that many before the first new one
    slot   [B,N] slot of each new token

    Slot s of sample b holds the token at position start − phase + s. Needs real tokens at the front (``compact``).

    >>> view = View.of(3, 3, causal=True, cross=False)
    >>> state = State()
    >>> state["length"] = torch.tensor([5])
    >>> Layout.of(view, 3, state, size=4).token
    tensor([[-1,  0,  1,  2]])
    """

    size: int
    start: Tensor
    real: Tensor
    phase: Tensor
    token: Tensor
    slot: Tensor

    @staticmethod
    def of(view: View, batch: int, state: State | None, size: int) -> Layout:
        """For the new tokens of ``view``, after those that ``state["length"]`` counts."""
        count, device = view.k_pos.shape[-1], view.k_pos.device
        none = torch.zeros(batch, dtype=torch.long, device=device)
        real = none + count if view.mask is None else view.mask.sum(-1)
        start = none if state is None or "length" not in state else state["length"]
        phase = start % size
        slots = -(-(count + int(phase.max())) // size) * size
        token = torch.arange(slots, device=device) - phase[:, None]
        return Layout(size, start, real, phase, token, torch.arange(count, device=device) + phase[:, None])

    @property
    def new(self) -> Tensor:
        """Bool [B,slots]: slots of new tokens."""
        return (self.token >= 0) & (self.token < self.real[:, None])

    @property
    def filled(self) -> Tensor:
        """Bool [B,slots]: slots of tokens, new or earlier."""
        return self.token < self.real[:, None]
