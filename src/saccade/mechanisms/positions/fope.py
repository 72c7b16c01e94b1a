"""Fourier position embedding, FoPE (paper 307)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.positions.rotary import spread


@dataclass(frozen=True)
class Options:
    """Hyper-parameters.

    base       of the rotary frequencies
    trained    length of the sequences in training: slower frequencies than 2π / trained are set to zero
    gain       spread of the random coefficients (0.3 to 0.6 in the paper, rising with the size of the model)
    learnable  whether the coefficients are trained; the paper leaves them as drawn
    """

    base: float = 10000.0
    trained: int = 512
    gain: float = 0.3
    learnable: bool = False

    def __post_init__(self) -> None:
        if self.trained < 7:
            raise MechanismError(f"trained must be at least 7 tokens, or no frequency remains; found {self.trained}")


class FoPE(Position):
    """Rotary positions in which each pair turns by a series over all frequencies, not by one.

    cos(mθ_i) and sin(mθ_i) become Σ_f C_fi cos(mω_f) and Σ_f S_fi sin(mω_f) over the F frequencies ω that go round once
    in training; C and S are the identity (every ⌈F/M⌉-th frequency where F > M) plus Xavier noise, by key-value head.
    The first M = min(F, d/4) pairs move, the others have frequency zero: no position.

    From the paper and its released code, whose number of moving pairs and initial values these are. That code pads the
    sines of the still pairs with 1, which only doubles their weight in q·k; here they are left alone.
    """

    info = Info(
        name="fope",
        summary="rotary positions whose pairs turn by Fourier series, slow frequencies set to zero",
        papers=(307,),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
    )
    Options = Options
    kind = "rotation"
    cosines: Tensor
    sines: Tensor

    def build(self) -> None:
        o, width = self.options, self.shape.head_dim
        if width % 4:
            raise MechanismError(f"fope needs head_dim to be a multiple of 4, found {width}")
        rates = o.base ** -(torch.arange(width // 2, dtype=torch.float64) * 2 / width)
        self.rates = rates[rates >= 2 * math.pi / o.trained].tolist()
        moving = min(len(self.rates), width // 4)
        step = math.ceil(len(self.rates) / moving)
        for name in ("cosines", "sines"):
            mix = torch.empty(self.shape.kv_heads, len(self.rates), moving)
            nn.init.xavier_normal_(mix, gain=o.gain)
            for i in range(moving):
                if i * step < len(self.rates):
                    mix[:, i * step, i] += 1
            if o.learnable:
                self.register_parameter(name, nn.Parameter(mix))
            else:
                self.register_buffer(name, mix)

    def queries(self, q: Tensor, positions: Tensor) -> Tensor:
        return self.turned(q, positions)

    def keys(self, k: Tensor, positions: Tensor) -> Tensor:
        return self.turned(k, positions)

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [B,H,N,d] with its first M pairs (i, i + d/2) turned."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        angle = positions[:, None, :, None] * torch.tensor(self.rates, dtype=torch.float64, device=x.device)
        cos, sin = (
            wave.to(dtype) @ spread(mix.to(dtype), x.shape[1])
            for wave, mix in ((angle.cos(), self.cosines), (angle.sin(), self.sines))
        )
        first, second = x.to(dtype).chunk(2, dim=-1)
        moving = cos.shape[-1]
        (a, first), (b, second) = (t.tensor_split([moving], dim=-1) for t in (first, second))
        return torch.cat([a * cos - b * sin, first, b * cos + a * sin, second], dim=-1).to(x.dtype)
