"""Gated memory units: an earlier layer's memory, gated token by token (paper 388, SambaY)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View, take


@dataclass(frozen=True)
class Options:
    """``norm``: an RMS norm after the gate, for memories of linear attention (nGMU); Mamba's have none."""

    norm: bool = False


class GMU(Layer):
    """y_t = W_2 (m_t ⊙ silu(W_1 x_t)): layers of the second half gate what one layer of the first half has mixed.

    The memory m is the context: pass the output of an earlier layer on the same tokens, and query t reads the newest
    entry that it sees, which is its own. That is the pattern "cross-causal"; no token looks at another, so decoding
    needs the memory of the new token alone, and neither cache nor state. In SambaY m is the output of the last Mamba
    layer before its output projection, and units take turns with cross-attention to one shared cache; ``heads`` and
    the width of heads play no part. Equation and names from the paper's code.

    >>> from saccade.mechanisms import Shape
    >>> unit, x, memory = GMU(Shape(4, 1)), torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    >>> torch.allclose(unit(x, memory)[:, 2:], unit(x[:, 2:], memory[:, 2:]))
    True
    """

    info = Info(
        name="gmu",
        summary="W_2 (m ⊙ silu(W_1 x)), with the memory m of an earlier layer as context",
        papers=(388,),
        family="recurrent",
        patterns=("cross-causal",),
        cost=1,
        decode="none",
        parameters="fewer: two projections",
        fast="the entry at the query's own position, taken directly",
        groups=False,
    )
    Options = Options
    compact = True

    def build(self) -> None:
        dim = self.shape.dim
        self.gate, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.norm = nn.RMSNorm(dim, eps=1e-5) if self.options.norm else nn.Identity()

    def gated(self, x: Tensor, memory: Tensor) -> Tensor:
        """The unit itself, on x and memory [B,N,dim] of the same tokens."""
        y: Tensor = self.out(self.norm(memory * F.silu(self.gate(x))))
        return y

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        seen = view.visible()
        assert seen is not None
        newest = seen & (seen.long().cumsum(-1) == seen.sum(-1, keepdim=True))
        return self.gated(x, newest[:, 0].to(context.dtype) @ context)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        never = torch.iinfo(view.k_pos.dtype).max
        k_pos = view.k_pos if view.mask is None else view.k_pos.masked_fill(~view.mask, never)
        q_pos = view.q_pos.expand(len(k_pos), -1).contiguous()
        newest = torch.searchsorted(k_pos.contiguous(), q_pos, right=True) - 1
        return self.gated(x, take(context, newest.clamp_min(0).expand(len(x), -1)))
