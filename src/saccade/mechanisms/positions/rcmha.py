"""RCMHA: relative positions and depth-wise convolutions of queries, keys and values (paper 189)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.positions.music import relative_logits
from saccade.mechanisms.scan import with_past
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``kernel``: taps of the convolutions; ``length``: distances with a vector of their own."""

    kernel: int = 3
    length: int = 4096

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.length < 1:
            raise MechanismError(f"kernel and length must be at least 1, found {self}")


class RCMHA(Layer):
    """softmax(((q_i + u)·k_j + q_i·r[i − j] + c[i − j]) / √d) v_j, where q, k and v went through convolutions.

    After its projection each of q, k and v passes a causal depth-wise convolution over ``kernel`` tokens, one filter
    for each dimension of a head, the same for all heads. u [H,d], r [H,length,d] and c [H,length] start at zero: the
    relative attention of Transformer-XL with learned vectors in place of sinusoids. As in the authors' code, whose
    tables also hold the future, which a causal model never reads.
    """

    info = Info(
        name="rcmha",
        summary="relative positions in the logits, depth-wise convolutions after the projections",
        papers=(189,),
        family="positions",
        patterns=("self-causal",),
        cost=2,
        decode="cache",
        parameters="three convolutions, a bias of queries, a vector and a scalar for each head and distance",
        fast="one call of the convolution kernel, distances skewed into place, a cache",
    )
    Options = Options
    trial = Options(length=5)
    compact = True

    def build(self) -> None:
        shape, o = self.shape, self.options
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q = nn.Linear(shape.dim, wide, bias=False)
        self.k, self.v = (nn.Linear(shape.dim, narrow, bias=False) for _ in range(2))
        self.out = nn.Linear(wide, shape.dim, bias=False)
        self.filters = nn.Parameter(torch.empty(3, shape.head_dim, o.kernel).uniform_(-1, 1) * o.kernel**-0.5)
        self.offsets = nn.Parameter(torch.empty(3, shape.head_dim).uniform_(-1, 1) * o.kernel**-0.5)
        self.queries = nn.Parameter(torch.zeros(shape.heads, shape.head_dim))
        self.vectors = nn.Parameter(torch.zeros(shape.heads, o.length, shape.head_dim))
        self.scalars = nn.Parameter(torch.zeros(shape.heads, o.length))

    def project(self, x: Tensor) -> list[Tensor]:
        """q [B,H,N,d], k and v [B,Hkv,N,d], before the convolutions."""
        return [split_heads(p(x), self.shape.head_dim) for p in (self.q, self.k, self.v)]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, positional: Tensor, view: View) -> Tensor:
        """Softmax of content and ``positional`` logits, values, output projection."""
        k, v = (t.repeat_interleave(self.shape.groups, dim=1) for t in (k, v))
        scores = ((q + self.queries[:, None]) @ k.transpose(-1, -2) + positional) * q.shape[-1] ** -0.5
        y: Tensor = self.out(merge_heads(masked_softmax(scores, view.visible()) @ v))
        return y

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        taps, last = self.options.kernel, self.options.length - 1
        q, k, v = (
            sum(F.pad(t, (0, 0, taps - 1, 0))[:, :, a : a + t.shape[2]] * w[:, a] for a in range(taps)) + b
            for t, w, b in zip(self.project(x), self.filters, self.offsets, strict=True)
        )
        distance = view.distance()[:, 0].clamp(0, last)
        positional = torch.einsum("bhid,hbijd->bhij", q, self.vectors[:, distance])
        return self.attend(q, k, v, positional + self.scalars[:, distance].transpose(0, 1), view)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        past = self.options.kernel - 1
        q, k, v = (
            convolve(with_past(t, past, view, state, name), w, b)
            for t, w, b, name in zip(self.project(x), self.filters, self.offsets, "qkv", strict=True)
        )
        if state is not None:
            k, v, view = state.extend("keys", k), state.extend("values", v), view.extended(state)
        one = torch.ones_like(q[..., :1])
        table = torch.cat([self.vectors, self.scalars[..., None]], dim=-1)
        return self.attend(q, k, v, relative_logits(torch.cat([q, one], dim=-1), table, view), view)


def convolve(x: Tensor, filters: Tensor, offset: Tensor) -> Tensor:
    """Each dimension of x [B,H,N+w−1,d] under its own filter [d,w], the last tap on the last token: [B,H,N,d]."""
    flat = x.flatten(0, 1).transpose(-1, -2)
    y: Tensor = F.conv1d(flat, filters[:, None], offset, groups=len(filters)).transpose(-1, -2)
    heads: Tensor = y.unflatten(0, x.shape[:2])
    return heads
