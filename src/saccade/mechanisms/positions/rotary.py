"""Rotary positions (Su et al. 2021, RoFormer, eq. 34)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.position import Position


@dataclass(frozen=True)
class Options:
    """``base``: θ_i = base^(−2i/d)."""

    base: float = 10000.0


class Rotary(Position):
    """Pair (i, i + d/2) of q and k turns by the angle m·θ_i, so that q_m·k_n depends on m − n alone."""

    info = Info(
        name="rotary",
        summary="pairs of dimensions of q and k turn by angles that grow with the position",
        papers=(),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
    )
    Options = Options
    kind = "rotation"

    def build(self) -> None:
        if self.shape.head_dim % 2:
            raise MechanismError(f"rotary needs an even head_dim, found {self.shape.head_dim}")

    def queries(self, q: Tensor, positions: Tensor) -> Tensor:
        return rotate(q, positions, self.options.base)

    def keys(self, k: Tensor, positions: Tensor) -> Tensor:
        return rotate(k, positions, self.options.base)


def rotate(x: Tensor, positions: Tensor, base: float = 10000.0) -> Tensor:
    """Turn the pairs (i, i + d/2) of ``x`` [B,H,N,D] by positions [B or 1, N] · base^(−2i/d); angles in float64.

    >>> rotate(torch.ones(1, 1, 2, 2), torch.tensor([[0, 1]]))[0, 0]
    tensor([[ 1.0000,  1.0000],
            [-0.3012,  1.3818]])
    """
    half, dtype = x.shape[-1] // 2, torch.promote_types(x.dtype, torch.float32)
    powers = torch.arange(half, device=x.device, dtype=torch.float64) / half
    angle = positions[:, None, :, None] * base**-powers
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    first, second = x.to(dtype).chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def spread(x: Tensor, heads: int) -> Tensor:
    """What ``x`` [G,...] holds for each key-value head, for ``heads`` heads: repeated to more, thinned to fewer.

    >>> spread(torch.tensor([5, 6]), 4).tolist(), spread(torch.tensor([5, 6, 7, 8]), 2).tolist()
    ([5, 5, 6, 6], [5, 7])
    """
    return x if len(x) == heads else x[torch.arange(heads, device=x.device) * len(x) // heads]
