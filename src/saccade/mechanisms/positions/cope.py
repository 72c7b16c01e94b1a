"""Contextual position encoding, CoPE (paper 76)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``count``: how many positions there are; what lies farther shares the last. The paper counts up to 64."""

    count: int = 64

    def __post_init__(self) -> None:
        if self.count < 2:
            raise MechanismError(f"cope needs at least 2 positions, found {self.count}")


class CoPE(Position):
    """Logits (q_i·k_j + q_i·e[p_ij]) / √d, p_ij = Σ_{t=j..i} σ(q_i·k_t / √d): positions count open gates.

    e [count, d] starts at zero and is shared by the heads; between two whole positions q·e is interpolated, and the
    gates learn through that alone. Gates read the logits of content that the mechanism itself computes. Equations 3 to
    6 of the paper and its released code, with the defaults of the latter (both terms under √d; the code counts up to
    the length of the sequence unless told otherwise, the paper's models for language up to 64).

    >>> import torch
    >>> from saccade.mechanisms import Shape, View
    >>> scheme, view = CoPE(Shape(4, 1)), View.of(3, 3, causal=True, cross=False)
    >>> scheme.counted(torch.zeros(1, 1, 3, 3), view)[0, 0, 2]
    tensor([1.5000, 1.0000, 0.5000])
    """

    info = Info(
        name="cope",
        summary="logits + q·e[p], where p counts the gates that the query opens between itself and the key",
        papers=(76,),
        family="positions",
        patterns=("self-causal", "cross-causal"),
        cost=2,
        decode="cache",
        parameters="one vector of a head's width for each position",
    )
    Options = Options
    kind = "score"
    trial = Options(count=4)

    def build(self) -> None:
        self.table = nn.Parameter(torch.zeros(self.options.count, self.shape.head_dim))

    def counted(self, scores: Tensor, view: View) -> Tensor:
        """p [B,H,Q,K] from the logits of content, in float32 or better."""
        gates = view.hide(scores.to(torch.promote_types(scores.dtype, torch.float32)).sigmoid())
        return gates.flip(-1).cumsum(-1).flip(-1).clamp_max(self.options.count - 1)

    def scores(self, scores: Tensor, q: Tensor, k: Tensor, view: View) -> Tensor:
        position = self.counted(scores, view)
        below = position.detach().floor().long()
        part = position - below
        whole = (q @ self.table.to(q.dtype).transpose(-1, -2)).to(position.dtype) / math.sqrt(q.shape[-1])
        above = (below + 1).clamp_max(self.options.count - 1)
        between = whole.gather(-1, below) * (1 - part) + whole.gather(-1, above) * part
        return scores + between.to(scores.dtype)
