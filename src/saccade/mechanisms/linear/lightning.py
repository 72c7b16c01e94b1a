"""Lightning attention: linear attention with a fixed exponential decay per head (papers 113 and 152)."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.mechanisms.info import Info
from saccade.mechanisms.linear.kernel import Chunked
from saccade.mechanisms.positions.alibi import geometric_slopes
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scan import chunked_linear
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class Lightning(QKV):
    """o_i = Σ_{j≤i} λ_h^(i−j) (q_i·k_j) v_j, with λ_h = exp(−2^(−8(h+1)/H)); neither scaled nor normalised.

    The tiles are those of paper 113: scores inside a chunk, a D × D memory between
    chunks. The activation on q and k and the norm on the output belong to the layer around it, not to the operator.
    """

    info = Info(
        name="lightning",
        summary="Σ λ^(i−j) (q_i·k_j) v_j",
        papers=(113, 152),
        family="linear",
        patterns=("self-causal",),
        cost=1,
        decode="recurrent",
        fast="chunks with a D × D memory carried between them, O(n) memory",
    )
    Options = Chunked
    trial = Chunked(chunk=4)

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        rate = geometric_slopes(self.shape.heads, q.device)[:, None, None]
        decay = view.hide(torch.exp(-rate * view.distance())).to(q.dtype)
        return (q @ k.transpose(-1, -2) * decay) @ v

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        rate = geometric_slopes(self.shape.heads, q.device)[:, None]
        before, memory = (None, None) if state is None else (state.get("position"), state.get("memory"))
        out, memory = chunked_linear(q, k, v, -rate * view.steps(before)[:, None], memory, self.options.chunk)
        if state is not None:
            state["position"], state["memory"] = view.k_pos[:, -1], memory
        return out
