"""Latte: attention through latent variables (paper 100)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.mechanisms.gated import chunked_gated
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.linear.kernel import Chunked
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options(Chunked):
    """As ``Chunked``; smaller tiles, since every pair in a tile has a decay for each latent."""

    chunk: int = 16


class Latte(QKV):
    """o_t = Σ_l p(l | t) Σ_s p(s | l, t) v_s, with p(l | t) = softmax_l(q_t) and p(s | l, t) = softmax_{s≤t}(k_s)_l.

    The features of queries and keys are the latents: as many as a head is wide. Not causal, the inner softmax is over
    all tokens, and the mechanism is "efficient" attention. Causal, the running mean of each latent is renewed by
    u_t = e^(z_{t−1} − z_t) u_{t−1} + e^(k_t − z_t) v_t with z the running log-sum-exp of its keys: no exponent is
    positive, and decoding keeps u and z.
    """

    info = Info(
        name="latte",
        summary="Σ_latents softmax(q_t) · prefix softmax of k · v",
        papers=(100,),
        family="linear",
        patterns=PATTERNS,
        cost=1,
        decode="recurrent",
        fast="chunks with a decay for each latent, O(n) memory",
        source="derived",
    )
    Options = Options
    trial = Options(chunk=4)

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        visible = view.visible()
        seen = None if visible is None else visible[:, :, None]
        maps = k.transpose(-1, -2)[:, :, :, None, :].expand(-1, -1, -1, q.shape[-2], -1)
        return torch.einsum("bhtl,bhlts,bhsd->bhtd", q.softmax(-1), masked_softmax(maps, seen), v)

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        latents = q.softmax(-1)
        tokens = None if view.mask is None else view.mask[:, None, :, None]
        if not view.causal:
            weights = masked_softmax(k.mT, None if tokens is None else tokens.mT)
            return latents @ (weights @ v)
        low = torch.finfo(k.dtype).min
        k = k if tokens is None else k.masked_fill(~tokens, low)
        start = k.new_full((*k.shape[:2], 1, k.shape[-1]), low) if state is None else state.get("z")
        start = k.new_full((*k.shape[:2], 1, k.shape[-1]), low) if start is None else start
        z = torch.cat([start, k], dim=-2).logcumsumexp(dim=-2)
        before, z = z[:, :, :-1], z[:, :, 1:]
        log_decay = torch.where(before > low / 2, before - z, 0)
        gain = torch.where(k > low / 2, k - z, -torch.inf).exp()
        memory = None if state is None else state.get("u")
        queries, keys = q.shape[-2], k.shape[-2]
        if view.cross:
            latents = F.pad(latents, (0, 0, keys - queries, 0))
        out, memory = chunked_gated(latents, gain, v, log_decay, memory, chunk=self.options.chunk)
        if state is not None:
            state["z"], state["u"] = z[:, :, -1:], memory
        return F.pad(out, (0, 0, queries - keys, 0)) if view.cross else out
