"""Position schemes: how order enters, apart from the mechanism that it composes with."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import PATTERNS, Info, Shape
from saccade.mechanisms.view import View


class Position(nn.Module):
    """A position scheme; this base is the scheme "none".

    kind "rotation"  changes queries and keys (``queries``, ``keys``): composes with every qkv mechanism
    kind "bias"      adds to the logits what does not depend on content (``bias``): with every scored mechanism
    kind "score"     rewrites logits from content (``scores``), adds to the output (``values``): likewise
    """

    info: ClassVar[Info] = Info(
        name="none",
        summary="no positions: order enters through causality alone",
        papers=(),
        family="positions",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
    )
    Options: ClassVar[type[Any]]
    kind: ClassVar[Literal["none", "rotation", "bias", "score"]] = "none"
    trial: ClassVar[Any] = None
    lengths: ClassVar[tuple[int, int] | None] = None

    def __init__(self, shape: Shape, **options: Any) -> None:
        super().__init__()
        known = [f.name for f in fields(self.Options)] if hasattr(self, "Options") else []
        wrong = sorted(set(options) - set(known))
        if wrong:
            raise MechanismError(
                f"{self.info.name} has no option {', '.join(wrong)}; its options are {known or 'none'}"
            )
        self.shape = shape
        self.options: Any = self.Options(**options) if known else None
        self.build()

    def build(self) -> None:
        """Make parameters and buffers; ``self.shape`` and ``self.options`` are set."""

    def queries(self, q: Tensor, positions: Tensor) -> Tensor:
        """Queries [B,H,Q,D] at ``positions`` [B or 1, Q]; keeps the dtype."""
        return q

    def keys(self, k: Tensor, positions: Tensor) -> Tensor:
        """Keys [B,Hkv,K,D] at ``positions`` [B or 1, K]; a cache holds what this returns."""
        return k

    def bias(self, view: View, dtype: Any) -> Tensor | None:
        """Logits to add, broadcastable to [B,H,Q,K]."""
        return None

    def scores(self, scores: Tensor, q: Tensor, k: Tensor, view: View) -> Tensor:
        """Logits [B,H,Q,K] from the logits ``scores`` of content; q and k have the same number of heads."""
        bias = self.bias(view, scores.dtype)
        return scores if bias is None else scores + bias

    def values(self, weights: Tensor, view: View) -> Tensor | None:
        """What the scheme adds to the output [B,H,Q,Dv], from the weights [B,H,Q,K]."""
        return None

    @property
    def config(self) -> str | dict[str, Any]:
        """What ``positions=`` takes to build this again."""
        return {"name": self.info.name, **asdict(self.options)} if self.options is not None else self.info.name
