"""Aaren: attention as a recurrent network (paper 401)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.scan import Items, prefix_scan
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class Aaren(Layer):
    """o_t = Σ_{j≤t} softmax_{j≤t}(q·k_j / √d) v_j, with q = W_q·token and one learned token for all positions.

    The prefixes come from a parallel scan over triples (m, u, w): the largest logit so far, the sum of exp(logit − m)
    and the same sum weighted by values. Decoding carries one triple per head.
    """

    info = Info(
        name="aaren",
        summary="prefix softmax of one learned query",
        papers=(401,),
        family="recurrent",
        patterns=("self-causal",),
        cost=1,
        decode="recurrent",
        parameters="one token of width dim",
        fast="a parallel prefix scan, O(n) memory",
    )

    def build(self) -> None:
        shape = self.shape
        self.token = nn.Parameter(torch.randn(shape.dim) * shape.dim**-0.5)
        self.q = nn.Linear(shape.dim, shape.heads * shape.head_dim, bias=False)
        self.k = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.v = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B,H,N] and values [B,H,N,D]."""
        width, groups = self.shape.head_dim, self.shape.groups
        k, v = (split_heads(p(x), width).repeat_interleave(groups, dim=1) for p in (self.k, self.v))
        q = self.q(self.token).unflatten(-1, (-1, width))
        return torch.einsum("hd,bhnd->bhn", q, k) * width**-0.5, v

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        logits, v = self.project(x)
        rows = logits[:, :, None, :].expand(-1, -1, x.shape[1], -1)
        y: Tensor = self.out(merge_heads(masked_softmax(rows, view.visible()) @ v))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        logits, v = upcast(*self.project(x))
        weight = torch.ones_like(logits)
        if view.mask is not None:
            logits = logits.masked_fill(~view.mask[:, None], torch.finfo(logits.dtype).min)
            weight = weight * view.mask[:, None]
        items = prefix_scan(combine, (logits, weight, v * weight[..., None]), dim=2)
        if state is not None:
            if "m" in state:
                items = combine((state["m"], state["u"], state["w"]), items)
            state["m"], state["u"], state["w"] = (t[:, :, -1:] for t in items)
        _, total, weighted = items
        mean = weighted / total.masked_fill(total == 0, 1)[..., None]
        y: Tensor = self.out(merge_heads(mean).to(x.dtype))
        return y


def combine(earlier: Items, later: Items) -> Items:
    """The triple (m, u, w) of two stretches together."""
    (m1, u1, w1), (m2, u2, w2) = earlier, later
    m = torch.maximum(m1, m2)
    a, b = (m1 - m).exp(), (m2 - m).exp()
    return m, a * u1 + b * u2, a[..., None] * w1 + b[..., None] * w2
