"""What makes a model of the zoo: architecture, data, schedule, and the measurements that its card reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from saccade.core.errors import SaccadeError


class ZooError(SaccadeError):
    """A model or recipe that does not exist, or a training run that cannot go on."""


@dataclass(frozen=True)
class Batch:
    """Token ids, right-padded [B,N], and the weight of each as a target [B,N] (0 on padding)."""

    ids: Tensor
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A token budget and a learning rate that warms up, stays, and falls to zero over the last part (`decay`)."""

    tokens: int
    rate: float = 2e-3
    warmup: float = 0.01
    decay: float = 0.25

    def factor(self, progress: float) -> float:
        """Share of the full rate at a progress from 0 to 1."""
        return max(0.0, min(1.0, (progress + 1e-4) / self.warmup, (1 - progress) / self.decay))


@dataclass(frozen=True, slots=True)
class Measurement:
    """A row of a card: what was measured, its value, on how many examples, and the level of chance if any."""

    what: str
    value: float
    count: int
    chance: float | None = None


class Recipe(Protocol):
    """What makes a model of the zoo. Its class docstring is the data recipe that the card prints."""

    @property
    def name(self) -> str: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def snapshots(self) -> int: ...
    @property
    def seed(self) -> int: ...

    def tokenizer(self) -> Any: ...
    def model(self, tokenizer: Any) -> Any: ...
    def pool(self, number: int, progress: float, tokenizer: Any) -> list[Batch]:
        """Some batches, the same for the same number and progress."""
        ...

    def probe(self, model: Any, tokenizer: Any) -> Mapping[str, float]:
        """A few quick measurements for the log."""
        ...

    def measure(self, model: Any, tokenizer: Any) -> list[Measurement]:
        """The table of the card, on examples that training never saw."""
        ...


def pad(rows: Sequence[tuple[list[int], list[float]]], pad_id: int) -> Batch:
    """Right-padded tensors of ids and weights."""
    longest = max(len(ids) for ids, _ in rows)
    return Batch(
        torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids, _ in rows]),
        torch.tensor([w + [0.0] * (longest - len(w)) for _, w in rows]),
    )
