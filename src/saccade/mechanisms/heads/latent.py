"""Multi-head latent attention: keys and values from one narrow latent a token (paper 302; DeepSeek-V2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.attention import attention
from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.dot_product import fused, written_out
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Layer, merge_heads, split_heads
from saccade.mechanisms.positions.rotary import rotate
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """Widths: ``latent`` of keys and values (None: 4 heads), ``query_latent`` (None: 12 heads; 0: no compression),
    ``rotary`` of the decoupled part (None: half a head); ``base`` of its angles."""

    latent: int | None = None
    query_latent: int | None = None
    rotary: int | None = None
    base: float = 10000.0

    def __post_init__(self) -> None:
        for name, least in (("latent", 1), ("query_latent", 0), ("rotary", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise MechanismError(f"{name} must be at least {least}, or None, found {value}")
        if self.rotary is not None and self.rotary % 2:
            raise MechanismError(f"rotary must be even, found {self.rotary}")


class Latent(Layer):
    """softmax((q_c·k_c + q_r·k_r) / √(d + d_r)) v with k_c = W_uk c, v = W_uv c, c = RMSNorm(W_dkv x).

    Queries come from a latent of their own, q_c and q_r = W_uq RMSNorm(W_dq x). Positions enter by the decoupled parts
    alone: q_r of each head and k_r = W_kr x, one for all heads, both rotated. The cache holds c and k_r, d_c + d_r
    numbers a token whatever the heads: ``kv_heads`` plays no part. Absorbed, W_uk moves to the queries and W_uv to the
    outputs, so that all heads read the latents as they lie in the cache; expanded, keys and values are made from them.
    Defaults are those of DeepSeek-V2, whose norms on the latents are kept.
    """

    info = Info(
        name="latent",
        summary="softmax attention whose keys and values are expanded from one cached latent a token",
        papers=(302,),
        family="heads",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="projections down to latents and up again, two norms",
        fast="saccade.core.attention, absorbed or expanded, whichever needs fewer operations",
    )
    Options = Options

    def build(self) -> None:
        shape, options = self.shape, self.options
        self.latent = 4 * shape.head_dim if options.latent is None else options.latent
        self.rotary = max(shape.head_dim // 4 * 2, 2) if options.rotary is None else options.rotary
        narrow = 12 * shape.head_dim if options.query_latent is None else options.query_latent
        wide = shape.heads * (shape.head_dim + self.rotary)
        self.down = nn.Linear(shape.dim, self.latent + self.rotary, bias=False)
        self.norm = nn.RMSNorm(self.latent, eps=1e-6)
        self.up_keys = nn.Linear(self.latent, shape.heads * shape.head_dim, bias=False)
        self.up_values = nn.Linear(self.latent, shape.heads * shape.head_dim, bias=False)
        self.q: nn.Module = nn.Linear(shape.dim, wide, bias=False)
        if narrow:
            down, up = nn.Linear(shape.dim, narrow, bias=False), nn.Linear(narrow, wide, bias=False)
            self.q = nn.Sequential(down, nn.RMSNorm(narrow, eps=1e-6), up)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)

    def project(self, x: Tensor, context: Tensor, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """q [B,H,Q,d+d_r] with its last part rotated, c [B,1,K,d_c], rotated k_r [B,1,K,d_r]."""
        base, parts = self.options.base, [self.shape.head_dim, self.rotary]
        q, q_r = split_heads(self.q(x), sum(parts)).split(parts, dim=-1)
        c, k_r = self.down(context)[:, None].split([self.latent, self.rotary], dim=-1)
        return torch.cat([q, rotate(q_r, view.q_pos, base)], dim=-1), self.norm(c), rotate(k_r, view.k_pos, base)

    def expand(self, c: Tensor, k_r: Tensor) -> tuple[Tensor, Tensor]:
        """k [B,H,K,d+d_r] and v [B,H,K,d] of every head."""
        k, v = (split_heads(c[:, 0] @ up.weight.T.to(c.dtype), self.shape.head_dim) for up in self.ups)
        return torch.cat([k, k_r.expand(-1, k.shape[1], -1, -1)], dim=-1), v

    @property
    def ups(self) -> tuple[nn.Linear, nn.Linear]:
        """W_uk and W_uv."""
        return self.up_keys, self.up_values

    def absorbs(self, queries: int, keys: int) -> bool:
        """Whether Q queries on K latents need fewer operations absorbed than expanded."""
        d, d_c, d_r = self.shape.head_dim, self.latent, self.rotary
        return queries * (2 * d * d_c + keys * (2 * d_c + d_r)) < keys * (2 * d * d_c + queries * (2 * d + d_r))

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        q, c, k_r = self.project(x, context, view)
        y: Tensor = self.out(merge_heads(written_out(q, *self.expand(c, k_r), view)))
        return y

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        q, c, k_r = self.project(x, context, view)
        if state is not None:
            c, k_r, view = state.extend("latent", c), state.extend("rotary", k_r), view.extended(state)
        q, c, k_r = upcast(q, c, k_r)
        if self.absorbs(q.shape[2], c.shape[2]):
            heads = self.absorbed(q, c, k_r, view)
        else:
            heads = fused(q, *self.expand(c, k_r), view)
        y: Tensor = self.out(merge_heads(heads.to(x.dtype)))
        return y

    def absorbed(self, q: Tensor, c: Tensor, k_r: Tensor, view: View) -> Tensor:
        """Heads [B,H,Q,d] that read the latents themselves."""
        up_k, up_v = (up.weight.to(c.dtype).unflatten(0, (-1, self.shape.head_dim)) for up in self.ups)
        q_c, q_r = q.split([self.shape.head_dim, self.rotary], dim=-1)
        q_c, scale = q_c @ up_k, q.shape[-1] ** -0.5
        q, k = torch.cat([q_c, q_r], dim=-1), torch.cat([c, k_r], dim=-1)
        heads: Tensor = attention(q, k, c, causal=view.causal, mask=view.mask, scale=scale).values @ up_v.mT
        return heads
