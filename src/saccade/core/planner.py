"""EXPLAIN for attention: which engine serves a call, what it costs, and why nothing cheaper could."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from . import tiled
from .errors import EngineError
from .measures import Measure
from .program import Program

Value = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Plan:
    engine: str
    run: Callable[[Program, Sequence[Measure]], tuple[Tensor, dict[str, Value]]]


def plan(program: Program, measures: Sequence[Measure], engine: str) -> Plan:
    if engine not in ("auto", "fused", "tiled", "dense"):
        raise EngineError(f"engine is 'auto', 'fused', 'tiled' or 'dense', found {engine!r}.")
    return Plan("dense" if engine == "dense" else "tiled", tiled.run)
