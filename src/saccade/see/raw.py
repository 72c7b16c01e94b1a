"""Attention as it stands, and weighted by what it carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

from .trace import Token, Trace, trace
from .writers import Writer, writers

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True)
class RawAttention:
    """Attention of one layer from an output token to the input tokens, mean over heads.

    It says where one layer looks, among states that already mix many tokens; see the other methods for more.

    Args:
        layer: position in the stack; -1 is the last layer.
        head: one head; the mean of all by default.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> RawAttention().explain(sc.attach(model), input_ids=torch.arange(9)[None]).shape
        torch.Size([1, 9])
    """

    layer: int = -1
    head: int | None = None

    def explain(self, lm: Host, prompt: Any = None, *, token: Token = -1, **inputs: Any) -> Tensor:
        """Attention to the tokens of the main stack ``[B, N]``; in an encoder-decoder, cross-attention."""
        seen = trace(lm, prompt, **inputs)
        return self.back(seen, seen.start(token))

    def back(self, seen: Trace, start: Tensor) -> Tensor:
        """The same from a trace and weights of output tokens."""
        cross = [step for step in seen.steps if step.site.kind == "cross"]
        steps = cross if seen.encoder_decoder else seen.stack()
        heads = steps[self.layer].transposed(start[:, None])
        chosen: Tensor = heads.mean(1) if self.head is None else heads[:, self.head]
        return chosen


@dataclass(frozen=True)
class ValueWeighted:
    r"""Attention times the size of what it carries: :math:`\|\sum_h A_h[t,j]\, v_{h,j} W_O^h\|` by source token j.

    With ``by="values"`` the size is that of the values alone, :math:`\mathrm{mean}_h A_h[t,j] \|v_{h,j}\|`. A large
    weight on a token whose value is near zero, as on a sink, then counts for nothing. O(n · dim) memory.

    Args:
        layer: position in the stack; -1 is the last layer.
        by: ``"norm"`` (through the output projection) or ``"values"``.

    Source: Kobayashi et al., "Attention is Not Only a Weight" (the norm-based analysis that papers 94 and 186 are
    compared with).

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> ValueWeighted().explain(sc.attach(model), input_ids=torch.arange(9)[None]).shape
        torch.Size([1, 9])
    """

    layer: int = -1
    by: Literal["norm", "values"] = "norm"

    def __post_init__(self) -> None:
        if self.by not in ("norm", "values"):
            raise MeasureError(f'ValueWeighted: by is "norm" or "values", found {self.by!r}.')

    def explain(self, lm: Host, prompt: Any = None, *, token: Token = -1, **inputs: Any) -> Tensor:
        """Sizes by token of the main stack ``[B, N]``."""
        seen = trace(lm, prompt, **inputs)
        step = seen.stack()[self.layer]
        row = step.transposed(seen.start(token)[:, None]).float()
        v = step.operator.call.v.float().repeat_interleave(row.shape[1] // step.operator.call.v.shape[1], dim=1)
        if self.by == "values":
            sizes: Tensor = (row * v.norm(dim=-1)).mean(1)
            return sizes
        writer: Writer = writers(lm, prompt, sites=step.site.name, **inputs)[step.site.name]
        total = v.new_zeros(v.shape[0], v.shape[2], writer.weight.shape[-1])
        for head in range(v.shape[1]):
            total += (row[:, head, :, None] * v[:, head]) @ writer.weight[head]
        size: Tensor = total.norm(dim=-1)
        return size


@torch.no_grad()
def norm_map(seen: Trace, writer: Writer, layer: int = -1) -> Tensor:
    r"""Norm-based map of a layer, :math:`\|\sum_h A_h[i,j]\, v_{h,j} W_O^h\|`, ``[B, N, N]``.

    For short inputs: the matrix itself is n x n. Computed in row tiles, through the Gram matrix of the heads' writings
    where there are few heads, :math:`\|\sum_h a_h f_h\|^2 = a^\top F a`.
    """
    step = seen.stack()[layer]
    batch, heads, queries, keys = step.shape
    v = step.operator.call.v.float().repeat_interleave(heads // step.operator.call.v.shape[1], dim=1)
    written = torch.einsum("bhkd,hdm->bkhm", v, writer.weight)
    gram = torch.einsum("bkhm,bkgm->bkhg", written, written)
    out = v.new_zeros(batch, queries, keys)

    def put(tile: Tensor, rows: Tensor) -> None:
        part = tile.float()
        out[:, rows] = torch.einsum("bhrk,bkhg,bgrk->brk", part, gram, part).clamp_min(0).sqrt()

    step.visit(put)
    return out
