"""T5's relative bias (Raffel et al. 2020, section 2.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``buckets`` of distances; beyond ``max_distance`` all share one."""

    buckets: int = 32
    max_distance: int = 128

    def __post_init__(self) -> None:
        if self.buckets < 4 or self.buckets % 4 or self.max_distance <= self.buckets:
            raise MechanismError(f"t5 needs buckets, a multiple of 4, below max_distance, found {self}")


class T5Bias(Position):
    """Logits + b_h[bucket(i − j)]: half of the buckets exact, half logarithmic; non-causal ones split by side."""

    info = Info(
        name="t5",
        summary="logits + a learned scalar per head and bucket of distance",
        papers=(),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="buckets · heads scalars",
    )
    Options = Options
    kind = "bias"

    def build(self) -> None:
        self.table = nn.Parameter(torch.randn(self.options.buckets, self.shape.heads) * self.shape.dim**-0.5)

    def bias(self, view: View, dtype: Any) -> Tensor:
        return self.table[self.bucket(view.distance()[:, 0], view.causal)].permute(0, 3, 1, 2).to(dtype)

    def bucket(self, distance: Tensor, causal: bool) -> Tensor:
        """Bucket numbers of ``distance`` = query position − key position."""
        count = self.options.buckets if causal else self.options.buckets // 2
        side = torch.zeros_like(distance) if causal else (distance < 0) * count
        far = distance.clamp_min(0) if causal else distance.abs()
        exact = count // 2
        grown = torch.log(far.clamp_min(1) / exact) / math.log(self.options.max_distance / exact)
        coarse = (exact + (grown * (count - exact)).long()).clamp_max(count - 1)
        return side + torch.where(far < exact, far, coarse)
