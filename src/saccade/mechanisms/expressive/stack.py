"""Stack attention: a differentiable stack in place of the attention map (paper 320)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import upcast
from saccade.mechanisms.info import Info
from saccade.mechanisms.layer import Layer, split_heads
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``depth`` of the stack, beyond which what lies lowest is lost; None: as deep as the sequence is long."""

    depth: int | None = None

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise MechanismError(f"depth must be at least 1, or None for no limit, found {self.depth}")


class Stack(Layer):
    """y_t = W_y s_t[0], where s_t[i] = push_t s_{t−1}[i−1] + pop_t s_{t−1}[i+1] + keep_t s_{t−1}[i].

    (push, pop, keep) = softmax(W_a x_t), s_{t−1}[−1] = v_t = W_v x_t; the stack starts as zeros. This is the paper's
    superposition stack attention, the one related to deterministic pushdown automata, with one stack a head (the paper
    has one in all: ``heads=1``). The nondeterministic variant is not here. What is read is a weighted sum of values
    with weights that depend on the order of actions, so it runs through the sequence token by token.
    """

    info = Info(
        name="stack",
        summary="the top of a superposition stack under softmax(push, pop, keep)",
        papers=(320,),
        family="expressive",
        patterns=("self-causal",),
        cost=2,
        decode="cache",
        parameters="actions for each head, but neither queries nor keys",
        fast="only the part of the stack that can still come to the top",
    )
    Options = Options

    def build(self) -> None:
        shape = self.shape
        self.actions = nn.Linear(shape.dim, 3 * shape.heads, bias=False)
        self.v = nn.Linear(shape.dim, shape.kv_heads * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)

    def project(self, x: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """Actions [N,3,B,H,1,1] and pushed vectors [N,B,H,1,D]; at a masked token the stack is kept."""
        actions, v = upcast(self.actions(x), split_heads(self.v(x), self.shape.head_dim))
        actions = actions.unflatten(-1, (-1, 3)).softmax(dim=-1)
        if view.mask is not None:
            keep = torch.tensor([0.0, 0.0, 1.0], dtype=actions.dtype, device=actions.device)
            actions = torch.where(view.mask[:, :, None, None], actions, keep)
        v = v.repeat_interleave(self.shape.groups, dim=1)
        return actions.permute(1, 3, 0, 2)[..., None, None], v.permute(2, 0, 1, 3)[..., None, :]

    def reference(self, x: Tensor, context: Tensor, view: View) -> Tensor:
        actions, v = self.project(x, view)
        depth = min(x.shape[1], self.options.depth or x.shape[1])
        stack, tops = v.new_zeros(*v.shape[1:3], depth, v.shape[-1]), []
        for (push, pop, keep), pushed in zip(actions, v, strict=True):
            lowered = torch.cat([pushed, stack[:, :, :-1]], dim=2)
            raised = F.pad(stack[:, :, 1:], (0, 0, 0, 1))
            stack = push * lowered + pop * raised + keep * stack
            tops.append(stack[:, :, 0])
        return self.read(tops, x)

    def fast(self, x: Tensor, context: Tensor, view: View, state: State | None) -> Tensor:
        actions, v = self.project(x, view)
        stack = None if state is None else state.get("stack")
        stack = v.new_zeros(*v.shape[1:3], 0, v.shape[-1]) if stack is None else stack
        tops = []
        for step, ((push, pop, keep), pushed) in enumerate(zip(actions, v, strict=True)):
            useful = stack.shape[2] + 1 if state is not None else x.shape[1] - step
            height = min(stack.shape[2] + 1, useful, self.options.depth or useful)
            lowered = torch.cat([pushed, stack], dim=2)[:, :, :height]
            raised, kept = stack[:, :, 1 : height + 1], stack[:, :, :height]
            rest = F.pad(raised * pop, (0, 0, 0, kept.shape[2] - raised.shape[2])) + kept * keep
            stack = lowered * push + F.pad(rest, (0, 0, 0, height - rest.shape[2]))
            tops.append(stack[:, :, 0])
        if state is not None:
            state["stack"] = stack
        return self.read(tops, x)

    def read(self, tops: list[Tensor], x: Tensor) -> Tensor:
        """The tops [B,H,D] of all steps, projected, in the dtype of ``x``."""
        y: Tensor = self.out(torch.stack(tops, dim=1).flatten(-2).to(x.dtype))
        return y
