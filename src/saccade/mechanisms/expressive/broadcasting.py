"""Context broadcasting: uniform attention beside the learned one (paper 126)."""

from __future__ import annotations

from torch import Tensor

from saccade.mechanisms.baseline.softmax import Softmax
from saccade.mechanisms.info import Info
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class Broadcasting(Softmax):
    """out_i = (y_i + mean_j y_j) / 2, where y is softmax attention and the mean is over all tokens.

    The paper inserts x_i ↦ (x_i + mean_j x_j) / 2 into each layer of a vision transformer, at the end of its MLP; here
    it stands at the end of attention, where it is uniform attention on what attention returned (the output projection
    is linear, so it makes no difference on which side of it). Formula from a summary of the paper. Non-causal only, as
    there: the mean is over the whole sequence.
    """

    info = Info(
        name="context-broadcasting",
        summary="(y + mean of y over tokens) / 2, y = softmax attention",
        papers=(126,),
        family="expressive",
        patterns=("self",),
        cost=2,
        decode="none",
        fast="saccade.core.attention, and one mean",
        source="derived",
    )
    native = False

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        return broadcast(super().reference(q, k, v, view), view)

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        return broadcast(super().fast(q, k, v, view, state), view)


def broadcast(y: Tensor, view: View) -> Tensor:
    """(y + mean of y over the tokens) / 2 for y [B,H,N,D]."""
    if view.mask is None:
        return (y + y.mean(dim=-2, keepdim=True)) / 2
    tokens = view.mask[:, None, :, None]
    count = tokens.sum(dim=-2, keepdim=True).clamp_min(1)
    return (y + y.masked_fill(~tokens, 0).sum(dim=-2, keepdim=True) / count) / 2
