"""Attention maps that no input changes, "RndEmbQK" and "FixedSeqQK" of paper 399."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``length``: tokens of the longest sequence; ``deviation`` of the random embeddings."""

    length: int = 2048
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if self.length < 1 or self.deviation <= 0:
            raise MechanismError(f"length and deviation must be positive, found {self}")


class FixedMap(Layer):
    """out = softmax(q·k / √d) v, with q = W_q e and k = W_k e of fixed embeddings e [length, dim], and v = W_v x.

    The embedding at a token's position stands for the token in the map. They are drawn from N(0, deviation²) once,
    saved as ``embeddings`` and never trained: the paper's RndEmbQK. Copy the states of a fixed text into them for
    FixedSeqQK. The paper sends e through the layers below first; a layer by itself takes them as they are. Its third
    such variant, StaticEmbQK, needs the token embeddings of the model in every layer, which a layer is not given.
    """

    info = Info(
        name="fixed-map",
        summary="softmax attention whose queries and keys come from fixed embeddings, values from tokens",
        papers=(399,),
        family="expressive",
        patterns=("self-causal",),
        cost=2,
        decode="cache",
        fast="saccade.core.attention",
        needs=("length",),
    )
    Options = Options

    def build(self) -> None:
        shape = self.shape
        self.q = nn.Linear(shape.dim, shape.heads * shape.head_dim, bias=False)
        self.k = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.v = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)
        self.embeddings: Tensor
        self.register_buffer("embeddings", torch.randn(self.options.length, shape.dim) * self.options.deviation)

    def queries_keys(self, x: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """q and k [B,heads,N,d] of the positions in ``view``."""
        longest = int(view.k_pos.max()) + 1
        if longest > self.options.length:
            raise MechanismError(f"fixed-map was built for length={self.options.length} tokens, found {longest}")
        pairs = ((self.q, view.q_pos), (self.k, view.k_pos))
        q, k = (split_heads(p(self.embeddings[at]), self.shape.head_dim) for p, at in pairs)
        return q.expand(len(x), -1, -1, -1), k.expand(len(x), -1, -1, -1)

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        v = split_heads(self.v(x), self.shape.head_dim)
        y: Tensor = self.out(merge_heads(written_out(*self.queries_keys(x, view), v, view)))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        v = split_heads(self.v(x), self.shape.head_dim)
        if state is not None:
            v, view = state.extend("v", v), view.extended(state)
        y: Tensor = self.out(merge_heads(fused(*self.queries_keys(x, view), v, view)))
        return y
