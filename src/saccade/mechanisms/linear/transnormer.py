"""The TransNormer layer: lightning attention, gated and normalised (paper 152)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.linear.kernel import Chunked
from saccade.mechanisms.positions.alibi import geometric_slopes
from saccade.mechanisms.scan import chunked_linear
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View, where_tokens


@dataclass(frozen=True)
class Options(Chunked):
    """``layer`` l of ``layers`` L, from 0: its decay is slower the deeper it is."""

    layer: int = 0
    layers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.layer < self.layers:
            raise MechanismError(f"layer must be in 0 .. {self.layers - 1}, found {self.layer}")


class TransNormer(Layer):
    """y = W_o (SRMSNorm(o) ⊙ W_u x), o_i = Σ_{j≤i} λ^(i−j) (q_i·k_j) v_j, with q = swish(W_q x) and k = swish(W_k x).

    SRMSNorm(o) = o √D / ‖o‖ over all heads together, without parameters; it replaces the division by a sum of weights.
    λ_h = exp(−2^(−8(h+1)/H) (1 − l/(L−1) + 1e−5)) for head h and layer l, as the paper's code has it: the last layer
    hardly decays. LRPE, the rotation of the first layer, is a position scheme and not here.
    """

    info = Info(
        name="transnormer",
        summary="SRMSNorm(Σ λ^(i−j) (q_i·k_j) v_j) ⊙ gate",
        papers=(152,),
        family="linear",
        patterns=("self-causal",),
        cost=1,
        decode="recurrent",
        parameters="the gate W_u",
        fast="chunks with a D × D memory carried between them, O(n) memory",
    )
    Options = Options
    trial = Options(chunk=4, layer=1, layers=3)

    def build(self) -> None:
        shape = self.shape
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q, self.gate = (nn.Linear(shape.dim, wide, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(shape.dim, narrow, bias=False) for _ in range(2))
        self.out = nn.Linear(wide, shape.dim, bias=False)

    def rates(self, device: torch.device) -> Tensor:
        """−log λ [H]."""
        depth = self.options.layer / max(self.options.layers - 1, 1)
        rates: Tensor = geometric_slopes(self.shape.heads, device) * (1 - depth + 1e-5)
        return rates

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """q, k, v [B,H,N,D], heads repeated."""
        width, groups = self.shape.head_dim, self.shape.groups
        q, k, v = (split_heads(t, width) for t in (F.silu(self.q(x)), F.silu(self.k(x)), self.v(x)))
        return q, *(t.repeat_interleave(groups, dim=1) for t in (k, v))

    def finish(self, o: Tensor, x: Tensor) -> Tensor:
        """Norm, gate and projection of o [B,H,N,D]."""
        y: Tensor = self.out(simple_rms_norm(merge_heads(o)).to(x.dtype) * self.gate(x))
        return y

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, k, v = self.project(x)
        rate = self.rates(x.device)[:, None, None]
        decay = view.hide(torch.exp(-rate * view.distance())).to(q.dtype)
        return self.finish((q @ k.mT * decay) @ v, x)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v = upcast(*self.project(x))
        before, memory = (None, None) if state is None else (state.get("position"), state.get("memory"))
        log_decay = -self.rates(x.device)[:, None] * view.steps(before)[:, None]
        o, memory = chunked_linear(q, where_tokens(k, view.mask), v, log_decay, memory, self.options.chunk)
        if state is not None:
            state["position"], state["memory"] = view.k_pos[:, -1], memory
        return self.finish(o, x)


def simple_rms_norm(x: Tensor) -> Tensor:
    """x / √(mean x² + 1e−6) over the last dimension, in float32 or better.

    >>> simple_rms_norm(torch.tensor([3.0, -3.0]))
    tensor([ 1.0000, -1.0000])
    """
    (wide,) = upcast(x)
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)
