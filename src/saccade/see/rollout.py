"""[94] Attention rollout, by vector-Jacobian products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

from .trace import Step, Token, Trace, trace

if TYPE_CHECKING:
    from saccade.hosts import Host

Fusion = Literal["mean", "max", "min"]
FUSIONS = ("mean", "max", "min")
COLUMNS = 256
"""Columns of the rollout matrix carried at once."""


@dataclass(frozen=True)
class Rollout:
    r"""How much of each input token is in an output token, if attention alone mixed them.

    .. math::
        \tilde A_l = \mathrm{normalise}\big((1-\rho)\, \mathrm{fuse}_h A_{l,h} + \rho I\big), \qquad
        R = \tilde A_L \cdots \tilde A_1 , \qquad r_t = R^\top e_t .

    One row of R is a chain of products with :math:`\tilde A_l^\top`: no matrix is formed. With ``"mean"`` each product
    is the backward pass of the fused kernel, O(n) memory; ``"max"`` and ``"min"`` look at single entries and run in
    row tiles, O(n · tile).

    In an encoder-decoder the tokens of both stacks are the states of one chain: a decoder's cross-attention moves the
    share ``1 - residual`` of a decoder token to the encoder's tokens. The paper treats encoders only; this is our
    extension.

    Args:
        residual: share :math:`\rho` of the residual stream; 0.5 in the paper.
        fusion: how the heads of a layer become one matrix; the paper takes the mean.

    Source: Abnar & Zuidema, "Quantifying Attention Flow in Transformers" (paper 94), equation 1.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> r = Rollout().explain(sc.attach(model), input_ids=torch.arange(9)[None])
        >>> r.shape, round(float(r.sum()), 4)
        (torch.Size([1, 9]), 1.0)
    """

    residual: float = 0.5
    fusion: Fusion = "mean"

    def __post_init__(self) -> None:
        if not 0.0 <= self.residual < 1.0:
            raise MeasureError(f"Rollout: residual is a share in [0, 1), found {self.residual}.")
        if self.fusion not in FUSIONS:
            raise MeasureError(f"Rollout: fusion is one of {FUSIONS}, found {self.fusion!r}.")

    def explain(self, lm: Host, prompt: Any = None, *, token: Token = -1, **inputs: Any) -> Tensor:
        """Shares of the input tokens in an output token ``[B, N]``.

        Args:
            lm: an attached model.
            prompt: a prompt of ``lm.prompt(...)``.
            token: the output token: an index among the real tokens of each sample, or weights ``[B, N]``.
            inputs: the model's inputs, instead of a prompt.
        """
        seen = trace(lm, prompt, **inputs)
        return self.back(seen, seen.start(token))[lm.main]

    def back(self, seen: Trace, start: Tensor) -> dict[str, Tensor]:
        """The chain from weights of output tokens ``[B, N]``: what reaches the tokens of each stack."""
        state = {seen.explained: start}
        for step in reversed(seen.steps):
            here = state.get(step.site.stack)
            if here is None:
                continue
            if step.site.kind == "self":
                state[step.site.stack] = self._step(step, here, True)
            elif seen.encoder_decoder:
                state[seen.main] = state.get(seen.main, 0.0) + self._step(step, here, False)
                state[step.site.stack] = self.residual * here
            else:
                raise MeasureError(f"{step.site.name} reads tokens of no stack; rollout follows self-attention.")
        if seen.main not in state:
            raise MeasureError(f"nothing reaches the {seen.main} stack: it has no attention in this trace.")
        return state

    def matrix(self, seen: Trace) -> Tensor:
        """All rows of R for the main stack at once, ``[B, N, N]``: for short inputs and for pictures."""
        steps = seen.stack()
        batch, _, length, _ = steps[0].shape
        out = torch.empty(batch, length, length, dtype=torch.float32, device=steps[0].values.device)
        for first in range(0, length, COLUMNS):
            columns = torch.eye(length, device=out.device)[:, first : first + COLUMNS].expand(batch, -1, -1)
            for step in steps:
                columns = self._forward(step, columns)
            out[:, :, first : first + COLUMNS] = columns
        return out

    def _step(self, step: Step, g: Tensor, same: bool) -> Tensor:
        """One product with the transposed mixing matrix; ``same``: keys and queries are the same tokens."""
        if self.fusion == "mean":
            mixed = (1 - self.residual) * step.transposed(g[:, None]).mean(1)
            return mixed + self.residual * g if same else mixed
        out = g.new_zeros(g.shape[0], step.shape[3])

        def add(tile: Tensor, rows: Tensor) -> None:
            fused, total = self._fused(tile, same)
            weight = g[:, rows] / total
            out.add_(torch.einsum("brk,br->bk", fused, weight))
            if same:
                out[:, rows] += self.residual * weight

        step.visit(add)
        return out

    def _forward(self, step: Step, x: Tensor) -> Tensor:
        if self.fusion == "mean":
            return (1 - self.residual) * step.applied(x).mean(1).float() + self.residual * x
        out = torch.empty_like(x)

        def put(tile: Tensor, rows: Tensor) -> None:
            fused, total = self._fused(tile, True)
            out[:, rows] = (fused @ x + self.residual * x[:, rows]) / total.unsqueeze(-1)

        step.visit(put)
        return out

    def _fused(self, tile: Tensor, same: bool) -> tuple[Tensor, Tensor]:
        """One matrix of a tile's heads, and its row sums with the residual."""
        fused = (1 - self.residual) * (tile.amax(1) if self.fusion == "max" else tile.amin(1)).float()
        total = fused.sum(-1)
        if same:
            return fused, (total + self.residual).clamp_min(torch.finfo(total.dtype).tiny)
        return fused, torch.where(total > 0, total / (1 - self.residual), 1.0)
