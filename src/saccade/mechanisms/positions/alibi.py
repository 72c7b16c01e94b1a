"""ALiBi (Press et al. 2022, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.view import View


def geometric_slopes(heads: int, device: Any = None) -> Tensor:
    """2^(−8(h+1)/H) for head h of H, float64 [H].

    >>> geometric_slopes(2).tolist()
    [0.0625, 0.00390625]
    """
    return 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=device, dtype=torch.float64) / heads)


class ALiBi(Position):
    """Logits fall by slope_h per position of distance; non-causal attention takes the distance in both directions.

    The slopes follow the geometric sequence for every number of heads (the paper's code interpolates where it is not a
    power of two).
    """

    info = Info(
        name="alibi",
        summary="logits − slope_h · |i − j|",
        papers=(),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
    )
    kind = "bias"

    def bias(self, view: View, dtype: Any) -> Tensor:
        slopes = geometric_slopes(self.shape.heads, view.q_pos.device).float()
        return (-slopes[:, None, None] * view.distance().abs()).to(dtype)
