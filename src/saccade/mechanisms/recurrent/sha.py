"""The attention of SHA-RNN: a single head with almost no parameters (paper 108)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Layer
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class SHA(Layer):
    """softmax(q_i·k_j / √dim) v_j with q = LN(W_q x) ⊙ σ(a), k = c ⊙ σ(b), v = c ⊙ σ(F s) ⊙ tanh(G s), s = σ(w).

    One head as wide as the tokens, whatever ``heads`` says. Keys and values are the memory c itself but for a learned
    scale of each channel, so there is one matrix product a token, no output projection, and the cache holds c once. F
    and G make the scale of values more flexible in training and depend on no token. There are no positions: in the
    paper an LSTM below gives the order. From the author's code, without the norms that stand in front of it; ``Boom``
    is the feed-forward part of that block.
    """

    info = Info(
        name="sha",
        summary="one head; only queries are projected, keys and values are scaled tokens",
        papers=(108,),
        family="recurrent",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="fewer: one projection, a norm and the scales of channels",
        fast="saccade.core.attention, a cache of the tokens themselves",
        groups=False,
    )

    def build(self) -> None:
        dim = self.shape.dim
        self.q, self.norm = nn.Linear(dim, dim), nn.LayerNorm(dim, eps=1e-12)
        self.scales = nn.Parameter(torch.zeros(3, dim))
        self.mix = nn.Linear(dim, 2 * dim)

    def project(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q [B,1,Q,dim], k and v [B,1,K,dim]."""
        q, k, v = self.scales.sigmoid()
        content, gate = self.mix(v).chunk(2)
        q = self.norm(self.q(x)) * q
        return q[:, None], (context * k)[:, None], (context * gate.sigmoid() * content.tanh())[:, None]

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        return written_out(*self.project(x, context), view)[:, 0]

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        if state is not None:
            context, view = state.extend("memory", context), view.extended(state)
        return fused(*self.project(x, context), view)[:, 0]


class Boom(nn.Module):
    """gelu(W x + b), cut into pieces of ``dim`` that are added up: a feed-forward layer without its second matrix.

    >>> Boom(4, 12)(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        if width % dim:
            raise MechanismError(f"the width of Boom must be a multiple of dim, found {width} and {dim}")
        self.widen = nn.Linear(dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., dim]."""
        pieces: Tensor = F.gelu(self.widen(x)).unflatten(-1, (-1, x.shape[-1]))
        return pieces.sum(-2)
