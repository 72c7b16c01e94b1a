"""Softmax attention (Vaswani et al. 2017, eq. 1), the base line."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.scored import Scored
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class Softmax(Scored):
    """out = softmax(q·k / √d) v.

    Position schemes of kind "rotation" and "bias" run through the fused kernel; those of kind "score" need the logits.
    """

    info = Info(
        name="softmax",
        summary="softmax(q·k / √d) v",
        papers=(),
        family="baseline",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        fast="the fused kernel, O(n) memory; O(n²) with padding or a position bias",
    )
    native = True

    def route(self, view: View, decoding: bool) -> Literal["fast", "reference"]:
        return "reference" if self.position.kind == "score" else "fast"

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        bias, queries, keys = self.position.bias(view, q.dtype), q.shape[2], k.shape[2]
        if view.mask is None and bias is None and (queries in (1, keys) or not view.causal):
            return F.scaled_dot_product_attention(q, k, v, is_causal=view.causal and queries == keys)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=join_bias(view.visible(), bias))


def join_bias(visible: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """One mask for the fused kernel; a row that sees nothing sees everything (the caller zeroes it)."""
    if visible is not None:
        visible = visible | ~visible.any(dim=-1, keepdim=True)
    if visible is None or bias is None:
        return visible if bias is None else bias
    return bias.masked_fill(~visible, -torch.inf)
