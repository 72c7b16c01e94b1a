"""Gated slot attention: two gated linear attentions joined by a softmax over slots (paper 341)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.gated import chunked_gated
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.linear.kernel import Chunked
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View, where_tokens


@dataclass(frozen=True)
class Options(Chunked):
    """``slots`` m of each head (None: the width of a head); ``damping`` of the logarithm of the gate."""

    chunk: int = 16
    slots: int | None = None
    damping: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slots is not None and self.slots < 1:
            raise MechanismError(f"slots must be at least 1, or None, found {self.slots}")
        if self.damping <= 0:
            raise MechanismError(f"damping must be positive, found {self.damping}")


class GatedSlots(Layer):
    """K̃_t = diag(α_t) K̃_{t−1} + (1 − α_t) k_tᵀ, Ṽ_t likewise with v_t, and o_t = Ṽ_tᵀ softmax(K̃_t q_t).

    α_t = σ(W_α x_t)^(1/8) [m] is the share of each slot that stays. q and k pass through swish, v through SiLU; the
    output is W_o RMSNorm(swish(o)). The scale of the logits is 1.
    """

    info = Info(
        name="gated-slots",
        summary="softmax over slots that forget by a gate",
        papers=(341,),
        family="linear",
        patterns=("self-causal",),
        cost=1,
        decode="recurrent",
        parameters="a gate of m slots for each key-value head and the scale of a norm",
        fast="two chunked gated linear attentions",
    )
    Options = Options
    trial = Options(chunk=4, slots=3)

    def build(self) -> None:
        shape = self.shape
        self.slots = self.options.slots or shape.head_dim
        self.q = nn.Linear(shape.dim, shape.heads * shape.head_dim, bias=False)
        self.k = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.v = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.gate = nn.Linear(shape.dim, shape.kv_heads * self.slots, bias=False)
        self.norm = nn.RMSNorm(shape.heads * shape.head_dim, eps=1e-5)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)

    def project(self, x: Tensor, view: View) -> tuple[Tensor, ...]:
        """q, k, v [B,H,N,D] and log α [B,H,N,m]; a masked token changes no slot."""
        width, groups = self.shape.head_dim, self.shape.groups
        q, k, v = (split_heads(F.silu(p(x)), width) for p in (self.q, self.k, self.v))
        log = split_heads(F.logsigmoid(self.gate(x)) / self.options.damping, self.slots)
        return q, *(t.repeat_interleave(groups, dim=1) for t in (k, v, where_tokens(log, view.mask)))

    def finish(self, o: Tensor, dtype: torch.dtype) -> Tensor:
        """Activation, norm and projection of o [B,H,N,D]."""
        y: Tensor = self.out(self.norm(F.silu(merge_heads(o)).to(dtype)))
        return y

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, k, v, log = self.project(x, view)
        slot_keys = k.new_zeros(*k.shape[:2], self.slots, k.shape[-1])
        slot_values, outputs = torch.zeros_like(slot_keys), []
        for t in range(x.shape[1]):
            stay = log[:, :, t, :, None].exp()
            slot_keys = stay * slot_keys + (1 - stay) * k[:, :, t, None, :]
            slot_values = stay * slot_values + (1 - stay) * v[:, :, t, None, :]
            read = (slot_keys @ q[:, :, t, :, None]).softmax(dim=-2)
            outputs.append((slot_values * read).sum(dim=-2))
        return self.finish(torch.stack(outputs, dim=2), x.dtype)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, k, v, log = upcast(*self.project(x, view))
        write, chunk = -torch.expm1(log), self.options.chunk
        slot_keys, slot_values = (None, None) if state is None else (state.get("keys"), state.get("values"))
        logits, slot_keys = chunked_gated(q, k, write, log, slot_keys, along="values", chunk=chunk)
        o, slot_values = chunked_gated(logits.softmax(-1), write, v, log, slot_values, chunk=chunk)
        if state is not None:
            state["keys"], state["values"] = slot_keys, slot_values
        return self.finish(o, x.dtype)
