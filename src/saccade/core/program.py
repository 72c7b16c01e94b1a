"""A call of attention, compiled: shifted tensors, visibility, and every edit as numbers per atom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .atoms import Atoms
from .edits import Reallocate, Rewrite
from .errors import EditError, ShapeError
from .visibility import Visibility


@dataclass(eq=False)
class Program:
    """What an engine runs. Per-row numbers broadcast to ``[B, Hq, Q, 1]``, per-atom ones to ``[B, Hq, Q, T]``.

    The edited logits are ``temper * (softcap(scale * q k) + additive) + bias[atom]``, hidden where ``hidden[atom]``.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    visible: Visibility
    atoms: Atoms
    out_dtype: torch.dtype
    span_names: tuple[str, ...] = ()
    softcap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0
    temper: Tensor | None = None
    bias: Tensor | None = None
    hidden: Tensor | None = None
    rewrite_logits: list[Rewriting] = field(default_factory=list)
    reallocate: list[Reallocating] = field(default_factory=list)
    rewrite_weights: list[Rewriting] = field(default_factory=list)
    value_scale: Tensor | None = None
    output: list[OutputEdit | OutputRewrite] = field(default_factory=list)
    touched: list[int] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of statistics: float64 for float64 inputs, else float32."""
        return torch.float64 if self.q.dtype == torch.float64 else torch.float32

    @property
    def edits_logits(self) -> bool:
        """Whether any structured edit of the logits is present."""
        return self.temper is not None or self.bias is not None or self.hidden is not None

    def tempered(self) -> tuple[Tensor, float]:
        """Queries and scale as a kernel takes them; one temper for all rows goes into the scale."""
        if self.temper is None:
            return self.q, self.scale
        if self.temper.numel() == 1 and not self.temper.requires_grad:
            return self.q, self.scale * float(self.temper)
        return self.q * self.temper.to(self.q.dtype), self.scale

    def finish(self, values: Tensor) -> Tensor:
        """Apply the edits of the output to values ``[B, Hq, Q, Dv]``."""
        for edit in self.output:
            values = edit.apply(values)
        return values


@dataclass(frozen=True, eq=False)
class Rewriting:
    """A :class:`Rewrite` with its heads (None: all) and its rows (None: all)."""

    fn: Rewrite
    heads: list[int] | None
    rows: Tensor | None


@dataclass(frozen=True, eq=False)
class Reallocating:
    """A :class:`Reallocate` with the atoms of each of its spans ``[S, T]`` and its rows (None: all)."""

    fn: Reallocate
    spans: Tensor
    rows: Tensor | None


@dataclass(frozen=True, eq=False)
class OutputEdit:
    """Multiply the output by ``scale`` or add ``shift``, both broadcast to ``[B, Hq, Q, Dv]``."""

    scale: Tensor | None = None
    shift: Tensor | None = None

    def apply(self, values: Tensor) -> Tensor:
        """The edited output."""
        if self.scale is not None:
            values = values * self.scale.to(values.dtype)
        return values if self.shift is None else values + self.shift.to(values.dtype)


@dataclass(frozen=True, eq=False)
class OutputRewrite:
    """Replace the output of ``heads`` (None: all) by a function of it, at ``rows`` (None: all)."""

    fn: Callable[[Tensor, Tensor], Tensor]
    heads: list[int] | None
    rows: Tensor | None

    def apply(self, values: Tensor) -> Tensor:
        """The edited output."""
        picked = slice(None) if self.heads is None else self.heads
        tile = values[:, picked]
        new = self.fn(tile, torch.arange(values.shape[2], device=values.device))
        if new.shape != tile.shape:
            raise EditError(f"Rewrite must keep the shape of its tile {list(tile.shape)}, it gave {list(new.shape)}.")
        full = values.clone()
        full[:, picked] = new.to(values.dtype)
        return full if self.rows is None else torch.where(self.rows, full, values)


def refuse_rows(emptied: Tensor, why: str) -> None:
    """Raise if any row of ``emptied [b, h, q]`` is True, naming the first one."""
    if bool(emptied.any()):
        sample, head, row = emptied.nonzero()[0].tolist()
        where = ", ".join(
            f"{name} {index}" if size > 1 else f"every {name}"
            for name, index, size in zip(("sample", "head", "row"), (sample, head, row), emptied.shape, strict=True)
        )
        raise EditError(
            f"{where}: {why}. Keep some keys visible, use a small alpha instead of Mask, or choose rows with queries=."
        )


def check_tensors(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Shapes, dtypes and devices of q, k and v."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not isinstance(tensor, Tensor) or tensor.dim() != 4:
            found = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ShapeError(f"{name} must be [B, heads, length, width], found {found}.")
        if not tensor.is_floating_point():
            raise ShapeError(f"{name} must be a float tensor, found {tensor.dtype}.")
    if not q.dtype == k.dtype == v.dtype or not q.device == k.device == v.device:
        raise ShapeError(
            f"q, k and v must share dtype and device, found {q.dtype}, {k.dtype}, {v.dtype} "
            f"on {q.device}, {k.device}, {v.device}."
        )
    if q.shape[0] != k.shape[0] or k.shape[:3] != v.shape[:3] or q.shape[3] != k.shape[3]:
        raise ShapeError(
            "q is [B, Hq, Q, D], k [B, Hkv, K, D] and v [B, Hkv, K, Dv]; "
            f"found {list(q.shape)}, {list(k.shape)}, {list(v.shape)}."
        )
    if q.shape[1] % k.shape[1]:
        raise ShapeError(f"query heads must be a multiple of key-value heads, found {q.shape[1]} and {k.shape[1]}.")
