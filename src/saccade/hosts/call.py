"""One call of attention at a site, as the engine takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from saccade.core.attention import Result, attention
from saccade.core.sites import Site


@dataclass(frozen=True, eq=False)
class Call:
    """Arguments of :func:`saccade.core.attention` that say what the model computes.

    Attributes:
        mask: ``[B, K]`` or broadcastable to ``[B, Hq, Q, K]``.
        window: key j is visible only if ``|K - Q + i - j| < window``.
    """

    site: Site
    q: Tensor
    k: Tensor
    v: Tensor
    causal: bool = False
    mask: Tensor | None = None
    scale: float | None = None
    softcap: float | None = None
    sinks: Tensor | None = None
    bias: Tensor | None = None
    window: int | None = None
    dropout: float = 0.0

    def run(self, **asked: Any) -> Result:
        """Run the engine with edits and measures."""
        return attention(
            self.q,
            self.k,
            self.v,
            causal=self.causal,
            mask=self.mask,
            scale=self.scale,
            softcap=self.softcap,
            sinks=self.sinks,
            bias=self.bias,
            window=self.window,
            dropout=self.dropout,
            site=self.site,
            **asked,
        )

    def first_keys(self, count: int) -> Call:
        """The call with its first ``count`` keys only."""
        if count >= self.k.shape[2]:
            return self
        mask, bias = (None if x is None else x[..., :count] for x in (self.mask, self.bias))
        return replace(self, k=self.k[:, :, :count], v=self.v[:, :, :count], mask=mask, bias=bias)

    def row(self, index: int) -> Call:
        """The call reduced to one query row, with all of its keys."""
        keys, position = self.k.shape[2], self.k.shape[2] - self.q.shape[2] + index
        mask = _row(self.mask, index)
        if self.causal or self.window is not None:
            back = position - torch.arange(keys, device=self.q.device)
            near = back >= 0 if self.causal else torch.ones_like(back, dtype=torch.bool)
            if self.window is not None:
                near = near & (back.abs() < self.window)
            mask = near[None, None, None] if mask is None else _restrict(mask, near)
        return replace(
            self,
            q=self.q[:, :, index : index + 1],
            causal=False,
            window=None,
            mask=mask,
            bias=_row(self.bias, index),
            dropout=0.0,
        )

    def last_real_row(self) -> int:
        """A query row that is a real token of every sample, as late as possible."""
        queries, keys = self.q.shape[2], self.k.shape[2]
        if self.mask is None or self.mask.dim() != 2 or self.site.kind == "cross":
            return queries - 1
        last = (self.mask * torch.arange(1, keys + 1, device=self.mask.device)).amax(dim=1).min()
        return max(0, min(queries - 1, int(last) - 1 - (keys - queries)))


def _row(mask: Tensor | None, index: int) -> Tensor | None:
    if mask is None or mask.dim() == 2:
        return mask
    return mask if mask.shape[2] == 1 else mask[:, :, index : index + 1]


def _restrict(mask: Tensor, near: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return mask & near
    return mask.masked_fill(~near, torch.finfo(mask.dtype).min)
