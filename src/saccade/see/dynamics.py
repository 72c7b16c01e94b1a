"""[167, 169, 247, 377] Measures of a model that learns: progress of attention, its onset, syntax, collapse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from saccade.core.errors import MeasureError


@dataclass(frozen=True, eq=False)
class Course:
    """A measure over checkpoints.

    Args:
        steps: when each checkpoint was taken, rising ``[T]``.
        values: the measure there ``[T]``.

    Example:
        >>> course = Course([0, 10, 20, 30], [0.1, 0.1, 0.9, 1.0])
        >>> course.reaches(0.5), course.steepest, round(course.abruptness, 3)
        (15.0, 15.0, 2.667)
    """

    steps: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values) or len(self.steps) < 2 or not bool((np.diff(self.steps) > 0).all()):
            raise MeasureError(
                f"a course has two or more checkpoints at rising steps and a value for each; found {len(self.steps)} "
                f"steps and {len(self.values)} values."
            )

    def reaches(self, level: float) -> float:
        """The step at which the values first come to a level, linear between checkpoints; inf if they never do.

        Values that begin above the level are followed down.
        """
        x, y = self._arrays
        sign = 1.0 if y[0] <= level else -1.0
        past = np.nonzero(sign * (y - level) >= 0)[0]
        if not len(past):
            return float("inf")
        i = int(past[0])
        if i == 0 or y[i] == y[i - 1]:
            return float(x[i])
        return float(x[i - 1] + (level - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1]))

    @property
    def steepest(self) -> float:
        """The middle of the interval between checkpoints with the greatest change in a step."""
        x, y = self._arrays
        i = int(np.abs(np.diff(y) / np.diff(x)).argmax())
        return float(x[i] + x[i + 1]) / 2

    @property
    def abruptness(self) -> float:
        """The greatest change in a step over the mean one, ``|y_T - y_0| / (x_T - x_0)``: 1 is a straight line."""
        x, y = self._arrays
        whole = abs(y[-1] - y[0]) / (x[-1] - x[0])
        return float(np.abs(np.diff(y) / np.diff(x)).max() / whole) if whole else 0.0

    @property
    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.asarray(self.steps, np.float64), np.asarray(self.values, np.float64)


def progress(weights: Tensor, target: Tensor) -> Tensor:
    r"""Share of attention that lies where the solution of a task needs it: ``[..., N, N]`` -> ``[...]``.

    .. math:: \sum_{(i,j) \in \Omega} |A_{ij}| \,/\, \sum_{i \in \Omega,\, j} |A_{ij}|,

    over the rows i that have a target. It is differentiable. Biasing the logits of :math:`\Omega` by ``log c`` is the
    paper's intervention, which multiplies these weights by c.

    Args:
        weights: attention, softmax or linear.
        target: the entries :math:`\Omega`, boolean, ``[N, N]`` or broadcastable to the weights.

    Source: paper 377, the attention progress measure.

    Example:
        >>> import torch
        >>> float(progress(torch.full((4, 4), 0.25), torch.eye(4, dtype=torch.bool)))
        0.25
    """
    omega = target.expand(weights.shape)
    if not bool(omega.any(-1).any(-1).all()):
        raise MeasureError("a matrix of attention has no target entry: mark in each where the task needs attention.")
    rows = omega.any(-1, keepdim=True)
    sizes = weights.abs()
    found: Tensor = (sizes * omega).sum((-1, -2)) / (sizes * rows).sum((-1, -2)).clamp_min(1e-30)
    return found


def syntactic(weights: Tensor, heads: Tensor) -> Tensor:
    r"""Syntactic attention of each attention head, ``[B, H]``: mean of ``A[i, j] + A[j, i]`` over dependencies.

    Minus its sum times a strength is the regulariser that fosters syntactic attention, plus that sum the one that
    suppresses it: it is differentiable.

    Args:
        weights: attention ``[B, H, N, N]``.
        heads: for each token the position of its syntactic head ``[B, N]``, -1 where it has none.

    Source: paper 167, whose regulariser adds up the attention between syntactic neighbours in both directions.

    Example:
        >>> import torch
        >>> weights = torch.tensor([[[[0.1, 0.9], [0.5, 0.5]]]])
        >>> round(float(syntactic(weights, torch.tensor([[1, -1]]))), 4)
        1.4
    """
    batch, _, length, keys = weights.shape
    if heads.shape != (batch, length) or length != keys or bool((heads >= length).any()):
        raise MeasureError(
            f"syntactic heads are positions [B, N] = [{batch}, {length}] below {length}, or -1; found "
            f"{list(heads.shape)}, at most {int(heads.max())}."
        )
    known = (heads >= 0)[:, None]
    index = heads.clamp_min(0)[:, None].expand(-1, weights.shape[1], -1)
    up = weights.gather(3, index[..., None])[..., 0]
    down = weights.gather(2, index[:, :, None])[:, :, 0]
    return ((up + down) * known).sum(-1) / known.sum(-1).clamp_min(1)


def collapse(states: Tensor) -> Tensor:
    """Mean cosine between the states of different tokens, ``[..., N, dim]`` -> ``[...]``: 1 is collapse.

    Source: paper 377.

    Example:
        >>> import torch
        >>> float(collapse(torch.eye(3))), round(float(collapse(torch.ones(3, 2))), 6)
        (0.0, 1.0)
    """
    unit = F.normalize(states.float(), dim=-1)
    count = states.shape[-2]
    found: Tensor = (unit.sum(-2).square().sum(-1) - unit.square().sum((-1, -2))) / (count * (count - 1))
    return found


def repetition(tokens: Tensor) -> Tensor:
    """Share of tokens that equal the one before, ``[..., N]`` -> ``[...]``.

    Source: paper 377, repetition bias.

    Example:
        >>> import torch
        >>> repetition(torch.tensor([[7, 7, 7, 2, 2]])).tolist()
        [0.75]
    """
    return (tokens[..., 1:] == tokens[..., :-1]).float().mean(-1)
