"""Attention without pairs: a token is weighed by itself alone, "Non-approximate" of paper 399."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.mechanisms.info import Info
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.recurrent.aaren import combine
from saccade.mechanisms.scan import prefix_scan
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


class Elementwise(QKV):
    """out_i = Σ_{j≤i} softmax_{j≤i}(silu(q_j)·k_j / √d) v_j (eq. 7 and 8): token j has the same logit for every i.

    Another of the paper's relaxations: softmax stays, similarity between tokens goes. In the paper a model of it alone
    is near chance, and one that alternates it with softmax attention is on a par with softmax attention alone.
    """

    info = Info(
        name="elementwise",
        summary="Σ_j softmax_j(silu(q_j)·k_j / √d) v_j over the past",
        papers=(399,),
        family="expressive",
        patterns=("self-causal",),
        cost=1,
        decode="recurrent",
        fast="a parallel prefix scan, O(n) memory",
    )
    takes: ClassVar[tuple[str, ...]] = ()

    def logits(self, q: Tensor, k: Tensor) -> Tensor:
        """One for each token and head, [B,H,N]."""
        return (F.silu(q) * k).sum(dim=-1) / math.sqrt(q.shape[-1])

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        rows = self.logits(q, k)[:, :, None, :].expand(-1, -1, q.shape[2], -1)
        return masked_softmax(rows, view.visible()) @ v

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        logits = self.logits(q, k)
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
        return weighted / total.masked_fill(total == 0, 1)[..., None]
