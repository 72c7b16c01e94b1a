"""Softmax attention (Vaswani et al. 2017, eq. 1), the base line."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from saccade.core.attention import attention
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
        fast="saccade.core.attention: the fused kernel wherever it is exact",
    )
    native = True

    def route(self, view: View, decoding: bool) -> Literal["fast", "reference"]:
        return "reference" if self.position.kind == "score" else "fast"

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        bias = self.position.bias(view, q.dtype)
        return attention(q, k, v, causal=view.causal, mask=view.mask, bias=bias).values
