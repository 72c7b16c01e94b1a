"""The relative attention of the Music Transformer, by skewing (paper 151)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``length``: distances with a vector of their own, 0 to length − 1; what lies farther shares the last."""

    length: int = 512

    def __post_init__(self) -> None:
        if self.length < 1:
            raise MechanismError(f"length must be at least 1 distance, found {self.length}")


class Music(Position):
    """Logits (q_i·k_j + q_i·r[i − j]) / √d, with a table r [length, d] for each head.

    Shaw's vectors in [Q,K,d] take memory quadratic in the sequence and times d. Here q rᵀ, with r from the farthest
    distance to 0, is formed at once and its rows are slid into place by padding and reshaping (section 3.4.1), so that
    what is kept for positions is linear: the table itself, H·K·d. Where padding makes positions skip, entries are
    placed by distance instead. Causal: the paper gives the unmasked form for block-local attention only.
    """

    info = Info(
        name="music",
        summary="logits + q·r[distance], skewed into place in linear memory",
        papers=(151,),
        family="positions",
        patterns=("self-causal", "cross-causal"),
        cost=2,
        decode="cache",
        parameters="one vector of a head's width for each head and distance",
    )
    Options = Options
    kind = "score"
    trial = Options(length=5)

    def build(self) -> None:
        shape = self.shape
        table = torch.randn(shape.heads, self.options.length, shape.head_dim)
        self.table = nn.Parameter(table * shape.head_dim**-0.5)

    def scores(self, scores: Tensor, q: Tensor, k: Tensor, view: View) -> Tensor:
        return scores + relative_logits(q, self.table, view) / math.sqrt(q.shape[-1])


def relative_logits(q: Tensor, table: Tensor, view: View) -> Tensor:
    """q_i·r[i − j] [B,H,Q,K] for j ≤ i, zero elsewhere; q [B,H,Q,d], ``table`` [H,length,d], its last row beyond it."""
    queries, keys, last = q.shape[-2], view.k_pos.shape[-1], table.shape[-2] - 1
    table = table.to(q.dtype)
    if queries <= keys and consecutive(view):
        far_to_near = torch.arange(keys - 1, -1, -1, device=q.device).clamp_max(last)
        return view.hide(skew(q @ table[:, far_to_near].transpose(-1, -2)))
    distance = view.distance().clamp(0, last).expand(len(q), q.shape[1], -1, -1)
    return view.hide((q @ table.transpose(-1, -2)).gather(-1, distance))


def consecutive(view: View) -> bool:
    """Whether each key stands one position after the key before it, and the last query at the last key."""
    steps = torch.diff(view.k_pos, dim=-1)
    return bool((steps == 1).all()) and bool((view.q_pos == view.k_pos[:, -view.q_pos.shape[-1] :]).all())


def skew(x: Tensor) -> Tensor:
    """Column K − 1 − δ of row i of ``x`` [..., Q, K] moved to the key at distance δ from query i, for all δ at once.

    Entries of keys after the query are not meaningful.

    >>> skew(torch.tensor([[2, 1, 0]] * 3)).tril()
    tensor([[0, 0, 0],
            [1, 0, 0],
            [2, 1, 0]])
    """
    queries, keys = x.shape[-2:]
    slid: Tensor = F.pad(x, (1, 0)).flatten(-2)[..., queries:].unflatten(-1, (queries, keys))
    return slid
