"""[186] Generic relevance: attention weighted by its gradient, carried through all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

from .targets import predicted
from .trace import Step, Target, Token, Trace, trace

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True)
class Relevance:
    r"""Which input tokens a prediction rests on, by gradient-weighted attention carried through the layers.

    With :math:`\nabla A` the gradient of the target with respect to a weight,

    .. math::
        \bar A = \mathrm{mean}_h (\nabla A \odot A)^+ , \qquad
        R^{ss} \leftarrow R^{ss} + \bar A R^{ss} \quad\text{(self-attention)},

    and in an encoder-decoder, for a decoder's cross-attention,

    .. math::
        R^{qs} \leftarrow R^{qs} + (\bar R^{qq})^\top \bar A\, \bar R^{ss}, \qquad
        \bar R = I + (R - I) / \mathrm{rowsum}(R - I) .

    Only one row of R is wanted, so everything is a chain of products with :math:`\bar A` and its transpose, computed
    in row tiles: :math:`\nabla A_{ij} = \nabla O_i \cdot v_j` needs no matrix either. O(n · tile) memory.

    Two streams that attend to each other (co-attention): :class:`saccade.see.coattention.CoRelevance`.

    Source: Chefer, Gur & Wolf, "Generic Attention-model Explainability" (paper 186), equations 5 to 10. Their code
    sets the diagonal of the result of an image classifier's class token aside; here it stays.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> Relevance().explain(sc.attach(model), input_ids=torch.arange(9)[None]).shape
        torch.Size([1, 9])
    """

    def explain(
        self, lm: Host, prompt: Any = None, *, token: Token = -1, target: Target | None = None, **inputs: Any
    ) -> Tensor:
        """Relevance of the input tokens ``[B, N]``, 0 or more; its scale is that of the gradient.

        Args:
            lm: an attached model.
            prompt: a prompt of ``lm.prompt(...)``.
            token: the output token whose row of R is taken.
            target: from the model's output to a number for each sample; by default the largest logit at ``token``.
            inputs: the model's inputs, instead of a prompt.
        """
        seen = trace(lm, prompt, target=target or predicted(lm, prompt, token, **inputs), **inputs)
        return self.back(seen, seen.start(token))[lm.main]

    def back(self, seen: Trace, start: Tensor) -> dict[str, Tensor]:
        """Relevance of the tokens of each stack, from weights of output tokens ``[B, N]``."""
        strange = [step.site.name for step in seen.steps if step.site.kind == "cross" and not seen.encoder_decoder]
        if strange:
            raise MeasureError(
                f"{strange[0]} reads tokens of no stack of this model; for co-attention call CoRelevance."
            )
        y, z = start, None
        inner = seen.stack(seen.explained)
        for index, step in reversed(list(enumerate(seen.steps))):
            if step.site.stack != seen.explained:
                continue
            if step.site.kind == "self":
                y = y + carried(step, y, transpose=True)
                continue
            before = [one for one in seen.steps[:index] if one in inner]
            mixed = _normalised(before, y)
            part = carried(step, mixed, transpose=True)
            z = part if z is None else z + part
        if not seen.encoder_decoder:
            return {seen.main: y}
        if z is None:
            raise MeasureError("the decoder has no cross-attention in this trace.")
        encoder = seen.stack(seen.main)
        sums = _row_sums(encoder, z)
        shared = z / sums
        through = shared
        for step in reversed(encoder):
            through = through + carried(step, through, transpose=True)
        return {seen.main: z + through - shared, seen.explained: y}


def carried(step: Step, x: Tensor, transpose: bool) -> Tensor:
    r"""Products :math:`\bar A x` (``[B, K]`` -> ``[B, Q]``) or :math:`\bar A^\top x`, in row tiles."""
    batch, _, queries, keys = step.shape
    out = x.new_zeros(batch, keys if transpose else queries)

    def add(tile: Tensor, rows: Tensor) -> None:
        weighted = positive(step, tile, rows)
        if transpose:
            out.add_(torch.einsum("brk,br->bk", weighted, x[:, rows]))
        else:
            out[:, rows] = torch.einsum("brk,bk->br", weighted, x)

    step.visit(add)
    return out


def positive(step: Step, tile: Tensor, rows: Tensor) -> Tensor:
    r"""Rows of :math:`\bar A`: mean over heads of the positive part of gradient times attention, ``[B, r, K]``."""
    if step.gradient is None:
        raise MeasureError("relevance needs gradients: trace(lm, ..., target=...).")
    batch, heads, _, _ = step.shape
    v = step.operator.call.v.to(tile.dtype)
    g = step.gradient[:, :, rows].to(tile.dtype)
    folded = g.reshape(batch, v.shape[1], -1, v.shape[3])
    slope = (folded @ v.transpose(-1, -2)).view(batch, heads, len(rows), -1)
    return slope.mul_(tile).clamp_min_(0).mean(1).float()


def _row_sums(steps: Sequence[Step], like: Tensor) -> Tensor:
    """Row sums of R - I over a stack, with 1 for rows of nothing."""
    ones = torch.ones_like(like)
    x = ones
    for step in steps:
        x = x + carried(step, x, transpose=False)
    total = x - ones
    return torch.where(total > 0, total, 1.0)


def _normalised(steps: Sequence[Step], x: Tensor) -> Tensor:
    r""":math:`\bar R x` for the R of some layers of self-attention."""
    if not steps:
        return x
    through = x
    for step in steps:
        through = through + carried(step, through, transpose=False)
    return x + (through - x) / _row_sums(steps, x)
