"""Relative position representations (paper 104)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.position import Position
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``distance``: what lies farther on either side shares one vector (16 in the paper); ``values``: with a^V."""

    distance: int = 16
    values: bool = True

    def __post_init__(self) -> None:
        if self.distance < 1:
            raise MechanismError(f"distance must be at least 1, found {self.distance}")


class Shaw(Position):
    """Logits q_i·(k_j + a^K[c]) / √d and outputs Σ_j α_ij (v_j + a^V[c]), with c = clip(j − i, −distance, distance).

    a^K and a^V [2·distance + 1, d] are shared by the heads (equations 3, 4 and 5 of the paper). As in its section 3.3
    no tensor [Q,K,d] is formed: q is multiplied by the table and the products are placed by distance; for the outputs
    the weights are summed by distance first.

    >>> from saccade.mechanisms import Shape
    >>> scheme, view = Shaw(Shape(4, 1), distance=2), View.of(4, 4, causal=True, cross=False)
    >>> scheme.rows(view)[0, 0]
    tensor([[2, 3, 4, 4],
            [1, 2, 3, 4],
            [0, 1, 2, 3],
            [0, 0, 1, 2]])
    """

    info = Info(
        name="shaw",
        summary="a learned vector for each clipped distance, added to keys and to values",
        papers=(104,),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        parameters="2 · (2 · distance + 1) vectors of a head's width",
    )
    Options = Options
    kind = "score"
    trial = Options(distance=3)

    def build(self) -> None:
        sizes = (2 * self.options.distance + 1, self.shape.head_dim)
        self.for_keys = nn.Parameter(torch.randn(sizes) * self.shape.head_dim**-0.5)
        if self.options.values:
            self.for_values = nn.Parameter(torch.randn(sizes) * self.shape.head_dim**-0.5)

    def rows(self, view: View) -> Tensor:
        """Row of the tables for each query and key, [B or 1, 1, Q, K]."""
        distance = self.options.distance
        rows: Tensor = (-view.distance()).clamp(-distance, distance) + distance
        return rows

    def scores(self, scores: Tensor, q: Tensor, k: Tensor, view: View) -> Tensor:
        by_distance = q @ self.for_keys.to(q.dtype).transpose(-1, -2) / math.sqrt(q.shape[-1])
        return scores + by_distance.gather(-1, self.rows(view).expand_as(scores))

    def values(self, weights: Tensor, view: View) -> Tensor | None:
        if not self.options.values:
            return None
        table = self.for_values.to(weights.dtype)
        summed = weights.new_zeros(*weights.shape[:-1], len(table))
        return summed.scatter_add(-1, self.rows(view).expand_as(weights), weights) @ table
