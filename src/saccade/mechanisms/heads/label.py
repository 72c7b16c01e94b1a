"""Label attention: heads that stand for labels (paper 138)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, split_heads
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.view import View


class Label(Layer):
    """y_i = W_out · concat_l LayerNorm(W_r (x_i + W_o c_l)), with c_l = Σ_j softmax_j(q_l·k_lj / √d) v_lj.

    Head l is a label with one learned query q_l, so it says once for the whole sequence where the label is; ``weights``
    gives these distributions. The context c_l joins every token before W_r reduces it to the width of a head: each part
    of the concatenation belongs to one label. W_o, W_r and the norm serve all labels. As in the public code, less its
    partition into content and position; W_out, which brings the parts back to dim, stands for what reads them.
    """

    info = Info(
        name="label",
        summary="one learned query a label: concat_l norm(W_r (x_i + W_o Σ_j softmax(q_l·k_lj) v_lj))",
        papers=(138,),
        family="heads",
        patterns=("self",),
        cost=1,
        decode="none",
        parameters="a query a label instead of a projection, W_o, W_r and a norm",
        groups=False,
    )

    def build(self) -> None:
        shape = self.shape
        wide = shape.heads * shape.head_dim
        self.queries = nn.Parameter(torch.randn(shape.heads, shape.head_dim))
        self.k = nn.Linear(shape.dim, wide, bias=False)
        self.v = nn.Linear(shape.dim, wide, bias=False)
        self.join = nn.Linear(shape.head_dim, shape.dim, bias=False)
        self.reduce = nn.Linear(shape.dim, shape.head_dim, bias=False)
        self.norm = nn.LayerNorm(shape.head_dim)
        self.out = nn.Linear(wide, shape.dim, bias=False)

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Where each label looks: [B,labels,N], each row sums to 1; x [B,N,dim], mask [B,N] True = token.

        >>> from saccade.mechanisms import mechanism
        >>> mechanism("label", dim=8, heads=2).weights(torch.randn(1, 5, 8)).sum(-1).shape
        torch.Size([1, 2])
        """
        k = split_heads(self.k(x), self.shape.head_dim)
        logits = torch.einsum("hd,bhnd->bhn", self.queries, k) * self.shape.head_dim**-0.5
        return masked_softmax(logits, None if mask is None else mask[:, None])

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        v = split_heads(self.v(x), self.shape.head_dim)
        weights, v = upcast(self.weights(x, view.mask), v)
        contexts = torch.einsum("bhn,bhnd->bhd", weights, v).to(x.dtype)
        parts = self.norm(self.reduce(x[:, :, None] + self.join(contexts)[:, None]))
        y: Tensor = self.out(parts.flatten(-2))
        return y
