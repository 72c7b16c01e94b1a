"""Mega: gated single-head attention on a moving average (paper 80)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer
from saccade.mechanisms.recurrent.ema import MovingAverage
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """Hyper-parameters; 0 stands for the paper's proportion to dim.

    features    width z of queries and keys: dim / 4
    hidden      width v of values: 2 · dim
    orders      dimensions of the moving average in each channel
    length      distances with a bias of their own; what lies farther shares the last
    activation  "softmax", or "laplace" of q·k / (keys seen) + bias, which the paper prefers outside of text
    """

    features: int = 0
    hidden: int = 0
    orders: int = 16
    length: int = 1024
    activation: Literal["softmax", "laplace"] = "softmax"

    def __post_init__(self) -> None:
        if min(self.features, self.hidden) < 0 or min(self.orders, self.length) < 1:
            raise MechanismError(f"features and hidden must be at least 0, orders and length 1, found {self}")
        if self.activation not in ("softmax", "laplace"):
            raise MechanismError(f"activation must be 'softmax' or 'laplace', found {self.activation!r}")


class Mega(Layer):
    """y = u ⊙ (silu(W_h x' + U_h (r ⊙ o) + b_h) − x), with o = attention(q, k, silu(W_v x + b_v)) (equations 7 to 18).

    x' = silu(EMA(x)); from it the shared z = silu(W_z x' + b_z), q = κ_q ⊙ z + μ_q, k = κ_k ⊙ z + μ_k, the reset gate
    r = silu(W_r x' + b_r) and the update gate u = σ(W_u x' + b_u). Attention has one head, whatever ``heads`` says, and
    a learned bias for each distance. The paper's layer ends in (1 − u) ⊙ x + u ⊙ h; what a residual connection adds to
    x to give that is u ⊙ (h − x), and this is returned: use it like any other layer, as x + mega(norm(x)). (There the
    residual is x before the norm.) From the paper and its code.
    """

    info = Info(
        name="mega",
        summary="gated single-head attention, its queries and keys from an exponential moving average",
        papers=(80,),
        family="recurrent",
        patterns=("self", "self-causal"),
        cost=2,
        decode="cache",
        parameters="moving average, gates, biases; one shared projection for queries and keys, wider values",
        fast="the moving average as a convolution by Fourier transforms, or as a recurrence from a state",
        groups=False,
    )
    Options = Options
    trial = Options(orders=2, length=4)
    compact = True

    def build(self) -> None:
        dim, o = self.shape.dim, self.options
        self.features, self.hidden = o.features or max(dim // 4, 1), o.hidden or 2 * dim
        self.average = MovingAverage(dim, o.orders)
        self.v, self.h = nn.Linear(dim, self.hidden), nn.Linear(self.hidden, dim, bias=False)
        self.base = nn.Linear(dim, 2 * dim + self.features + self.hidden)
        self.scale = nn.Parameter(torch.randn(2, self.features) * 0.02)
        self.offset = nn.Parameter(torch.zeros(2, self.features))
        self.bias = nn.Parameter(torch.randn(2 * self.reach - 1) * 0.02)
        for linear in (self.v, self.h, self.base):
            nn.init.normal_(linear.weight, std=0.02)
        for linear in (self.v, self.base):
            nn.init.zeros_(linear.bias)

    @property
    def reach(self) -> int:
        """Distances with a bias of their own, on either side."""
        length: int = self.options.length
        return length

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        return self.mixed(x, self.average.reference(x, view), lambda q, k, v: self.attend(q, k, v, view))

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        return self.mixed(x, self.average(x, view, state), lambda q, k, v: self.read(q, k, v, view, state))

    def mixed(self, x: Tensor, average: Tensor, read: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Everything around attention, after the moving average."""
        update, z, reset, direct = self.base(F.silu(average)).split(
            [x.shape[-1], self.features, self.hidden, x.shape[-1]], dim=-1
        )
        q, k = (F.silu(z) * scale + offset for scale, offset in zip(self.scale, self.offset, strict=True))
        found = self.h(F.silu(reset) * read(q, k, F.silu(self.v(x))))
        y: Tensor = update.sigmoid() * (F.silu(direct + found) - x)
        return y

    def attend(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        """Attention of one head: q, k [B,N,z], v [B,N,hidden] -> [B,N,hidden]."""
        return self.weights(q @ k.transpose(-1, -2), view.distance()[:, 0], self.visible(view)) @ v

    def read(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        """The same, going on from a state."""
        if state is not None:
            k, v, view = state.extend("k", k), state.extend("v", v), view.extended(state)
        return self.attend(q, k, v, view)

    def visible(self, view: View) -> Tensor | None:
        """Bool [B or 1, Q, K], or None where every query sees every key."""
        seen = view.visible()
        return None if seen is None else seen[:, 0]

    def weights(self, products: Tensor, distance: Tensor, seen: Tensor | None) -> Tensor:
        """Weights from q·k [..., Q, K]."""
        bias = self.bias[distance.clamp(1 - self.reach, self.reach - 1) + self.reach - 1].to(products.dtype)
        if self.options.activation == "softmax":
            return masked_softmax(products * self.features**-0.5 + bias, seen)
        count = products.shape[-1] if seen is None else seen.sum(-1, keepdim=True).clamp_min(1)
        weights = laplace(products / count + bias)
        return weights if seen is None else weights.masked_fill(~seen, 0)


def laplace(x: Tensor) -> Tensor:
    """(1 + erf((x − μ) / (σ √2))) / 2 with μ = √(1/2) and σ = √(1/(4π)): the paper's smooth form of relu(x)².

    >>> laplace(torch.tensor([-9.0, 0.5**0.5, 9.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (1 + torch.erf((x - math.sqrt(0.5)) * math.sqrt(2 * math.pi))) / 2
