"""The sliding window of Based: exact softmax attention over the last tokens (paper 309)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scan import with_past
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``window``: keys that a query sees, its own included."""

    window: int = 64

    def __post_init__(self) -> None:
        if self.window < 1:
            raise MechanismError(f"window must be at least 1 key, found {self.window}")


class Window(QKV):
    """o_i = Σ_{i−w<j≤i} softmax(q_i·k_j / √d) v_j: softmax attention over the last w tokens.

    Decoding keeps the last w − 1 keys and values. The other half of Based is "based".
    """

    info = Info(
        name="based-window",
        summary="softmax over the last w tokens",
        papers=(309,),
        family="linear",
        patterns=("self-causal",),
        cost=1,
        decode="recurrent",
        fast="blocks of w queries on their 2w − 1 keys",
    )
    Options = Options
    trial = Options(window=3)
    compact = True

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        visible, index = view.visible(), torch.arange(q.shape[-2], device=q.device)
        near = index[:, None] - index < self.options.window
        return masked_softmax(scores, near if visible is None else near & visible) @ v

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        width, queries = self.options.window, q.shape[-2]
        past, pad = width - 1, -queries % width
        k, v = with_past(k, past, view, state, "k"), with_past(v, past, view, state, "v")
        index = torch.arange(width, device=q.device)
        keys = torch.arange(width + past, device=q.device)
        near = (keys >= index[:, None]) & (keys <= index[:, None] + past)
        start = view.k_pos[:, :1, None] if state is not None else torch.zeros(1, 1, 1, device=q.device)
        blocks = torch.arange(0, queries + pad, width, device=q.device)[:, None]
        exists = blocks + keys - past + start >= 0
        q = F.pad(q, (0, 0, 0, pad)).unflatten(-2, (-1, width))
        k, v = (F.pad(t, (0, 0, 0, pad)).unfold(-2, width + past, width) for t in (k, v))
        weights = masked_softmax(q @ k * q.shape[-1] ** -0.5, (near & exists[:, :, None])[:, None])
        return (weights @ v.transpose(-1, -2)).flatten(2, 3)[:, :, :queries]
