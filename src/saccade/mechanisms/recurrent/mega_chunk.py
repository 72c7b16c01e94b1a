"""Mega in chunks: linear in the length of the sequence (paper 80, section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.recurrent.chunks import Layout
from saccade.mechanisms.recurrent.mega import Mega
from saccade.mechanisms.recurrent.mega import Options as MegaOptions
from saccade.mechanisms.scan import with_past
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View, take


@dataclass(frozen=True)
class Options(MegaOptions):
    """Those of Mega, of which ``length`` plays no part, and ``chunk``: tokens that attend to each other."""

    chunk: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk < 1:
            raise MechanismError(f"chunk must be at least 1 token, found {self.chunk}")


class MegaChunk(Mega):
    """Mega whose attention stays within chunks of fixed length; only the moving average passes from one to the next.

    Chunks begin at multiples of ``chunk``; there are as many biases as distances within one. Decoding keeps the moving
    average and the keys and values of one chunk. Everything else as in ``Mega``.
    """

    info = replace(
        Mega.info,
        name="mega-chunk",
        summary="Mega with attention within chunks, linear in the length",
        cost=1,
        decode="recurrent",
        fast=f"{Mega.info.fast}; chunks side by side",
    )
    Options = Options
    trial = Options(orders=2, chunk=4)

    @property
    def reach(self) -> int:
        chunk: int = self.options.chunk
        return chunk

    def visible(self, view: View) -> Tensor:
        same = view.q_pos[:, :, None] // self.reach == view.k_pos[:, None, :] // self.reach
        seen = super().visible(view)
        return same if seen is None else same & seen

    def read(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        layout, count = Layout.of(view, len(q), state, self.reach), q.shape[1]
        k, v = (with_past(t, self.reach, view, state, name) for t, name in ((k, "k"), (v, "v")))
        q = take(q, layout.token.clamp(0, count - 1))
        k, v = (take(t, (layout.token + self.reach).clamp_max(self.reach + count - 1)) for t in (k, v))
        q, k, v = (t.unflatten(1, (-1, self.reach)) for t in (q, k, v))
        index = torch.arange(self.reach, device=q.device)
        distance, seen = index[:, None] - index, layout.filled.unflatten(1, (-1, 1, self.reach))
        read = self.weights(q @ k.transpose(-1, -2), distance, seen & (distance >= 0) if view.causal else seen) @ v
        return take(read.flatten(1, 2), layout.slot)
