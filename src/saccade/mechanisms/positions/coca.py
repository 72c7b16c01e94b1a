"""Collinear constrained attention, CoCA (paper 95)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.positions.rotary import rotate


@dataclass(frozen=True)
class Options:
    """``base`` of the rotary angles; ``slack``: the cheaper score of the released code, not quite collinear."""

    base: float = 10000.0
    slack: bool = False


class CoCA(Position):
    """q_m·k_n = Σ_i t_ni |q_mi|² cos((m − n)θ_i): k_n = q_m ⊙ t_n is collinear with the query.

    q_mi is the pair (i, i + d/2) of the query; t = relu((x_i + x_(i+d/2)) / 2) ≥ 0 comes from what projects to the key.
    So no pair has an angle of its own between query and key, and each falls off from distance 0 on. Collinear keys
    depend on the query, but the score factors: (|q_i|², 0) and (t_i, 0) are turned in place of q and k, and the scheme
    costs what rotary positions cost, in every mechanism that takes those.

    The released code has the slack form q ⊙ R_m q against R_n (t, t), which is not a function of m − n alone; ``slack``
    gives it. Equations from the paper and that code.

    >>> from saccade.mechanisms import Shape
    >>> scheme, x = CoCA(Shape(4, 1)), torch.tensor([[[[1.0, 2.0, 3.0, -4.0]]]])
    >>> scheme.queries(x, torch.zeros(1, 1))[0, 0, 0], scheme.keys(x, torch.zeros(1, 1))[0, 0, 0]
    (tensor([10., 20.,  0.,  0.]), tensor([2., 0., 0., 0.]))
    """

    info = Info(
        name="coca",
        summary="rotary positions of keys that are collinear with the query: Σ t|q|² cos((m − n)θ)",
        papers=(95,),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
    )
    Options = Options
    kind = "rotation"

    def build(self) -> None:
        if self.shape.head_dim % 2:
            raise MechanismError(f"coca needs an even head_dim, found {self.shape.head_dim}")

    def queries(self, q: Tensor, positions: Tensor) -> Tensor:
        wide = q.to(torch.promote_types(q.dtype, torch.float32))
        if self.options.slack:
            return (wide * rotate(wide, positions, self.options.base)).to(q.dtype)
        first, second = wide.chunk(2, dim=-1)
        squares = first.square() + second.square()
        return rotate(torch.cat([squares, torch.zeros_like(squares)], -1), positions, self.options.base).to(q.dtype)

    def keys(self, k: Tensor, positions: Tensor) -> Tensor:
        first, second = k.to(torch.promote_types(k.dtype, torch.float32)).chunk(2, dim=-1)
        t = ((first + second) / 2).relu()
        return rotate(
            torch.cat([t, t if self.options.slack else torch.zeros_like(t)], -1), positions, self.options.base
        ).to(k.dtype)
