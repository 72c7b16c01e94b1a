"""Mixture of attentive experts: each expert is all heads but one (paper 72)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.dot_product import written_out
from saccade.mechanisms.heads.gated_heads import GatedHeads
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View

Turn = Literal["gate", "experts", "both"]


@dataclass(frozen=True)
class Options:
    """``hidden``: width of the gate's hidden layer; None: that of the model."""

    hidden: int | None = None

    def __post_init__(self) -> None:
        if self.hidden is not None and self.hidden < 1:
            raise MechanismError(f"hidden must be at least 1, or None, found {self.hidden}")


class AttentiveExperts(GatedHeads):
    """Σ_i g_i(x) · h/(h−1) Σ_{j≠i} H_j, with H_j the output of head j after its part of W_O.

    Expert i leaves out head i, and the responsibilities g = softmax(W₂ tanh(W₁ x̄)) say how far to trust it. x̄ is the
    mean of the tokens: of all of them, or, in causal attention, of those so far. The sum equals heads weighted by
    h/(h−1) (1 − g_j), which is what runs. Training goes by turns (``take_turn``): the gate learns while the experts
    rest; then the experts learn while the gate rests, through one expert drawn from g for each sequence (in causal
    attention for each token). The abstract gives experts, responsibilities and turns; the equation, the tanh gate and
    the causal mean are not verified.
    """

    info = Info(
        name="attentive-experts",
        summary="Σ_i g_i(x) h/(h−1) Σ_{j≠i} head_j",
        papers=(72,),
        family="heads",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="a gate of two layers over the heads",
        fast="heads weighted by h/(h−1) (1 − g), through saccade.core.attention",
        source="derived",
    )
    Options = Options

    def build(self) -> None:
        super().build()
        if self.shape.heads < 2:
            raise MechanismError(
                f"attentive-experts leaves out one head at a time: heads must be at least 2, found {self.shape.heads}"
            )
        hidden = self.options.hidden or self.shape.dim
        self.gate = nn.Sequential(
            nn.Linear(self.shape.dim, hidden, bias=False),
            nn.Tanh(),
            nn.Linear(hidden, self.shape.heads, bias=False),
        )
        self.turn: Turn = "both"

    def responsibilities(self, x: Tensor, view: View, state: State | None = None) -> Tensor:
        """g [B,N,heads] for the queries x [B,N,dim]."""
        (wide,) = upcast(x)
        if view.causal:
            total = wide.cumsum(dim=1)
            if state is not None:
                total = total + state["gate"] if "gate" in state else total
                state["gate"] = total[:, -1:]
            count = torch.arange(1, x.shape[1] + 1, device=x.device)[None] if view.cross else view.q_pos + 1
            mean = total / count[..., None]
        else:
            tokens = None if view.cross or view.mask is None else view.mask.sum(dim=-1).clamp_min(1)[:, None, None]
            mean = wide.sum(dim=1, keepdim=True) / (x.shape[1] if tokens is None else tokens)
        logits: Tensor = self.gate(mean.to(x.dtype))
        return masked_softmax(logits, None).expand(-1, x.shape[1], -1)

    def gates(self, x: Tensor, view: View, state: State | None) -> Tensor:
        left_out = self.responsibilities(x, view, state)
        if self.training and self.turn == "experts":
            drawn = torch.multinomial(left_out.flatten(0, 1).float(), 1).view(left_out.shape[:2])
            drawn = drawn if view.causal else drawn[:, :1].expand(-1, x.shape[1])
            left_out = nn.functional.one_hot(drawn, self.shape.heads).to(x.dtype)
        return (1 - left_out) * (self.shape.heads / (self.shape.heads - 1))

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        if self.training and self.turn == "experts":
            return super().reference(x, context, view)
        responsible = self.responsibilities(x, view)
        everyone = torch.ones_like(responsible)
        experts = []
        for i in range(self.shape.heads):
            others = everyone.index_fill(-1, torch.tensor(i, device=x.device), 0)
            experts.append(self.expert(others, x, context, view) * responsible[..., i : i + 1])
        return torch.stack(experts).sum(dim=0)

    def expert(self, heads: Tensor, x: Tensor, context: Tensor, view: View) -> Tensor:
        """h/(h−1) times the heads that ``heads`` [B,N,H] keeps."""
        kept = heads * (self.shape.heads / (self.shape.heads - 1))
        return self.finish(written_out(*self.project(x, context, view), view), kept)


def turn_of(epoch: int, every: int = 5) -> Turn:
    """Whose turn it is in an epoch, counted from 0: the gate's in one of ``every``, the experts' in the others.

    >>> [turn_of(epoch, every=3) for epoch in range(4)]
    ['gate', 'experts', 'experts', 'gate']
    """
    if every < 2:
        raise MechanismError(f"every must be at least 2, or the experts never learn; found {every}")
    return "gate" if epoch % every == 0 else "experts"


def take_turn(model: nn.Module, turn: Turn) -> None:
    """Let the gates of all attentive experts in ``model`` learn ("gate"), all its other parameters, or "both".

    >>> from saccade.mechanisms import mechanism
    >>> layer = mechanism("attentive-experts", dim=8, heads=2)
    >>> take_turn(layer, "gate")
    >>> [name for name, p in layer.named_parameters() if p.requires_grad]
    ['gate.0.weight', 'gate.2.weight']
    """
    layers = [m for m in model.modules() if isinstance(m, AttentiveExperts)]
    if not layers:
        raise MechanismError("the model has no layer of attentive experts to take turns; build one first")
    of_gates = {id(p) for layer in layers for p in layer.gate.parameters()}
    for p in model.parameters():
        p.requires_grad_(turn == "both" or (id(p) in of_gates) == (turn == "gate"))
    for layer in layers:
        layer.turn = turn
