"""Triadic modulation: queries, keys and values shape each other before attention (paper 310, Co⁴)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``latents`` that question the tokens, ``loops`` of modulation."""

    latents: int = 16
    loops: int = 1

    def __post_init__(self) -> None:
        if self.latents < 1 or self.loops < 0:
            raise MechanismError(f"latents must be at least 1 and loops at least 0, found {self}")


class Triadic(Layer):
    """Learned latent queries q [L], keys k and values v of the tokens; ``loops`` times, in this order,

    q ← m(q, (mean k + mean v) / 2),  k ← m(k, (mean q + v) / 2),  v ← m(v, (mean q + k) / 2)

    with the modulation m(r, c) = relu6(r² + 2r + c (1 + |r|)). Then z = softmax over tokens of (q·k / √d) v, and each
    token reads the latents back: y = softmax over latents of (k·q / √d) z. O(n · L).

    The modulation is that of the author's code, and so is the aim: latents, three-way loops, cost L · n. Which means
    stand for the contexts, and how tokens read the latents, is a guess: the paper pools the latents for one decision,
    and a layer needs an output for each token. Non-causal: latents see all tokens.
    """

    info = Info(
        name="triadic",
        summary="latent queries, keys and values modulated by each other, then latent attention",
        papers=(310,),
        family="expressive",
        patterns=("self",),
        cost=1,
        decode="none",
        parameters="latent tokens",
        source="guess",
    )
    Options = Options

    def build(self) -> None:
        shape = self.shape
        self.latents = nn.Parameter(torch.randn(self.options.latents, shape.dim))
        self.q = nn.Linear(shape.dim, shape.heads * shape.head_dim, bias=False)
        self.k = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.v = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        width = self.shape.head_dim
        q, k, v = upcast(*(split_heads(t, width) for t in (self.q(self.latents[None]), self.k(x), self.v(x))))
        k, v = (t.repeat_interleave(self.shape.groups, dim=1) for t in (k, v))
        for _ in range(self.options.loops):
            q = modulate(q, (mean(k, view.mask) + mean(v, view.mask)) / 2)
            k = modulate(k, (mean(q) + v) / 2)
            v = modulate(v, (mean(q) + k) / 2)
        scores = q @ k.transpose(-1, -2) / width**0.5
        latents = masked_softmax(scores, view.visible()) @ v
        read = masked_softmax(scores.transpose(-1, -2), None) @ latents
        y: Tensor = self.out(merge_heads(read).to(x.dtype))
        return y


def modulate(receptive: Tensor, context: Tensor) -> Tensor:
    """relu6(r² + 2r + c (1 + |r|)): the context decides where the receptive field is weak.

    >>> modulate(torch.tensor([0.0, 1.0]), torch.tensor([2.0, -1.0]))
    tensor([2., 1.])
    """
    return F.relu6(receptive.square() + 2 * receptive + context * (1 + receptive.abs()))


def mean(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of ``x`` [B,H,N,D] over its tokens, [B,H,1,D]."""
    if mask is None:
        return x.mean(dim=-2, keepdim=True)
    tokens = mask[:, None, :, None]
    return x.masked_fill(~tokens, 0).sum(dim=-2, keepdim=True) / tokens.sum(dim=-2, keepdim=True).clamp_min(1)
