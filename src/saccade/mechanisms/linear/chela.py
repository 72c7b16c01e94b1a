"""CHELA: short and long convolutions in front of gated linear attention (paper 136)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.linear.kernel import Chunked, kernel_sum
from saccade.mechanisms.linear.transnormer import simple_rms_norm
from saccade.mechanisms.scan import with_past
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View, where_tokens


@dataclass(frozen=True)
class Options(Chunked):
    """``short`` and ``long``: taps of the two convolutions."""

    short: int = 4
    long: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.short <= self.long:
            raise MechanismError(f"short and long must be 1 ≤ short ≤ long, found {self.short} and {self.long}")


class Chela(Layer):
    """y = W_o (SRMSNorm(Σ_j (q_i·k_j) v_j) ⊙ swish(W_g u_i)), with u = swish(short ∗ x + long ∗ x).

    q = swish(W_q u) and k = swish(W_k u) see the convolved tokens, v = swish(W_v x) the tokens themselves. The two
    depth-wise convolutions run side by side and are merged into one kernel before use (structural
    re-parameterisation); the long one begins as a decay into the past, in place of a state space model. Causal, the
    taps look back; not causal, they are centred.

    A guess from the abstract and summaries: the paper's code is not public. Stated there are the two convolutions and
    their merging, linear attention by tiles, and the gate from the convolutions; activations, norm, number of taps
    (the paper's long kernel may span the sequence) and initial values are this library's.
    """

    info = Info(
        name="chela",
        summary="linear attention of convolved tokens, gated by them",
        papers=(136,),
        family="linear",
        patterns=("self", "self-causal"),
        cost=1,
        decode="recurrent",
        parameters="two depth-wise convolutions and a gate",
        fast="one merged convolution, chunks with a D × D memory",
        source="guess",
    )
    Options = Options
    trial = Options(chunk=4, short=2, long=5)
    compact = True

    def build(self) -> None:
        shape, o = self.shape, self.options
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q, self.gate = (nn.Linear(shape.dim, wide, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(shape.dim, narrow, bias=False) for _ in range(2))
        self.out = nn.Linear(wide, shape.dim, bias=False)
        self.short = nn.Parameter(torch.randn(shape.dim, o.short) * o.short**-0.5)
        past = torch.arange(o.long - 1, -1, -1) / o.long
        self.long = nn.Parameter(torch.randn(shape.dim, o.long) * o.long**-0.5 * torch.exp(-4 * past))

    def project(self, u: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """q, k, v [B,H,N,D], heads repeated."""
        width, groups = self.shape.head_dim, self.shape.groups
        q, k, v = (split_heads(F.silu(t), width) for t in (self.q(u), self.k(u), self.v(x)))
        return q, *(t.repeat_interleave(groups, dim=1) for t in (k, v))

    def finish(self, o: Tensor, u: Tensor) -> Tensor:
        """Norm, gate and projection of o [B,H,N,D]."""
        y: Tensor = self.out(simple_rms_norm(merge_heads(o)).to(u.dtype) * F.silu(self.gate(u)))
        return y

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        parts = [
            depthwise_past(F.pad(x, (0, 0, *padding(kernel.shape[-1], view))), kernel)
            for kernel in (self.short, self.long)
        ]
        u = where_tokens(F.silu(parts[0] + parts[1]), view.mask)
        q, k, v = self.project(u, x)
        return self.finish(view.hide(q @ k.mT) @ v, u)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        (before, after), (lead, trail) = (padding(t.shape[-1], view) for t in (self.long, self.short))
        kernel = self.long + F.pad(self.short, (before - lead, after - trail))
        past = with_past(x, before, view, state, "x") if view.causal else F.pad(x, (0, 0, before, after))
        u = where_tokens(F.silu(depthwise_past(past, kernel)), view.mask)
        q, k, v = upcast(*self.project(u, x))
        return self.finish(kernel_sum(q, k, v, view, state, self.options.chunk), u)


def padding(taps: int, view: View) -> tuple[int, int]:
    """Tokens that a kernel needs before the first and after the last: looking back, or centred."""
    return (taps - 1, 0) if view.causal else (taps - 1 - (taps - 1) // 2, (taps - 1) // 2)


def depthwise_past(x: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of x [B,N+w−1,C] with its own kernel [C,w], the last tap on the last token: [B,N,C]."""
    return F.conv1d(x.mT, kernel[:, None], groups=len(kernel)).mT
