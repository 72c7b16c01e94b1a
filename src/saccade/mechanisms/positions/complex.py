"""Complex multi-head attention: content and position as angles, weighed by each head (paper 254)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.positions.rotary import spread


@dataclass(frozen=True)
class Options:
    """``base``: the angles of positions are those of rotary positions."""

    base: float = 10000.0


class Complex(Position):
    """q_m·k_n = Σ_i |q_mi| |k_ni| cos(δ_i (∠q_mi − ∠k_ni) + b_i + (m − n) θ_i), with δ and b learned by each head.

    q_mi is the pair (i, i + d/2) as a complex number: Adapt(A) = δ A + b is the weight of the difference in content,
    θ that of position, and rotary positions are the case δ = 1, b = 0. The cosine of a sum of angles factors: q is
    turned to δ∠q + b + mθ and k to δ∠k + nθ, so no tensor [Q,K,d] is formed and the fused kernel serves. δ, which keys
    share, is held by key-value head; b by query head. They start as N(0, 2/d) and 0.

    The paper was withdrawn; Adapt and the initial values are those of its authors' code, which does not scale the
    scores. Here they are divided by √d like all others. An angle jumps where a number crosses the negative axis,
    there as here.
    """

    info = Info(
        name="complex",
        summary="rotary positions whose angles of content are scaled and shifted by each head",
        papers=(254,),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="a scale of angles for each key-value head and pair, a shift for each head and pair",
    )
    Options = Options
    kind = "rotation"

    def build(self) -> None:
        width = self.shape.head_dim
        if width % 2:
            raise MechanismError(f"complex needs an even head_dim, found {width}")
        self.scale = nn.Parameter(torch.randn(self.shape.kv_heads, width // 2) * (width / 2) ** -0.5)
        self.shift = nn.Parameter(torch.zeros(self.shape.heads, width // 2))

    def queries(self, q: Tensor, positions: Tensor) -> Tensor:
        return self.turned(q, positions, self.shift)

    def keys(self, k: Tensor, positions: Tensor) -> Tensor:
        return self.turned(k, positions, torch.zeros_like(self.shift))

    def turned(self, x: Tensor, positions: Tensor, shift: Tensor) -> Tensor:
        """The pairs of x [B,H,N,d], angles scaled, shifted by ``shift`` [heads,d/2] and moved by position."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        real, imaginary = x.to(dtype).chunk(2, dim=-1)
        absent = (real == 0) & (imaginary == 0)
        real = real.masked_fill(absent, 1)
        powers = torch.arange(real.shape[-1], device=x.device, dtype=torch.float64) / real.shape[-1]
        move = positions[:, None, :, None] * self.options.base**-powers
        scale, shift = (spread(t.to(dtype), x.shape[1])[:, None] for t in (self.scale, shift))
        angle = scale * torch.atan2(imaginary, real) + shift
        length = torch.hypot(real, imaginary).masked_fill(absent, 0)
        cos, sin = move.cos().to(dtype), move.sin().to(dtype)
        first, second = length * angle.cos(), length * angle.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
