"""A call of attention, compiled: shifted tensors, visibility, and every edit as numbers per atom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod

import torch
from torch import Tensor

from .atoms import Atoms
from .edits import (
    Bias,
    Edit,
    Mask,
    QueryRef,
    Reallocate,
    Rewrite,
    Scale,
    ScaleHeads,
    ScaleValues,
    Shift,
    SpanRef,
    Strength,
    Temper,
)
from .errors import EditError, ShapeError, SpanError
from .sites import Site, heads_at
from .spans import Spans
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
    output: list[OutputEdit] = field(default_factory=list)
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


class Compiler:
    """Turns edits into a :class:`Program`, one edit at a time."""

    def __init__(self, program: Program, spans: Spans | None, query_spans: Spans | None, site: Site | None) -> None:
        self.program = program
        self.spans = spans
        self.query_spans = query_spans
        self.site = site

    def run(self, edits: Sequence[Edit]) -> Program:
        """Compile every edit, and check that each touches something and that no row is left empty."""
        for edit in edits:
            heads = heads_at(edit.at, self.site, self.program.visible.heads)
            if heads == []:
                if self.site is None:
                    raise EditError(f"{_label(edit)} picks no head: at={edit.at!r}.")
                self.program.touched.append(0)
                continue
            rows = _both(self._head_rows(heads), self._query_rows(edit.queries))
            touched = int(self._add(edit, heads, rows))
            if self.site is None and not touched:
                raise EditError(
                    f"{_label(edit)} touches no row: no chosen query sees a key of the span. "
                    "Check the span, the causal order and queries=."
                )
            self.program.touched.append(touched)
        self._refuse_empty_rows()
        self._keep_heads()
        self._keep_precision()
        return self.program

    def _keep_heads(self) -> None:
        """Keys and values have the same heads again where a shift of single heads repeated one of them."""
        program = self.program
        heads = max(program.k.shape[1], program.v.shape[1])
        if program.k.shape[1] != program.v.shape[1]:
            program.k, program.v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (program.k, program.v))

    def _keep_precision(self) -> None:
        """Edits of q, k and v themselves would be rounded in 16-bit floats; such calls run in float32."""
        program = self.program
        tempered = program.temper is not None and program.temper.numel() > 1
        if tempered or not program.q.dtype == program.k.dtype == program.v.dtype:
            program.q, program.k, program.v = (x.to(program.dtype) for x in (program.q, program.k, program.v))

    @singledispatchmethod
    def _add(self, edit: object, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        raise EditError(
            f"{edit!r} is not an edit; use Scale, Bias, Mask, Temper, Reallocate, ScaleValues, ScaleHeads, Shift "
            "or Rewrite."
        )

    @_add.register
    def _(self, edit: Scale, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        alpha = self._strength(edit.alpha)
        return self._add_bias(edit.span, alpha.log(), rows)

    @_add.register
    def _(self, edit: Bias, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        return self._add_bias(edit.span, self._strength(edit.b), rows)

    @_add.register
    def _(self, edit: Mask, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        return self._add_bias(edit.span, self._strength(-math.inf), rows)

    @_add.register
    def _(self, edit: Temper, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        program, factor = self.program, self._strength(edit.tau).reciprocal()
        factor = factor if rows is None else torch.where(rows, factor, 1.0)
        program.temper = factor if program.temper is None else program.temper * factor
        program.bias = None if program.bias is None else program.bias * factor
        return self._count(rows)

    @_add.register
    def _(self, edit: Reallocate, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        names = edit.spans or (self.spans.names if self.spans is not None else ())
        if not names:
            raise EditError("Reallocate needs spans; pass spans=Spans({...}) to the call.")
        holds = torch.stack([self._atoms(name) for name in names])
        if bool((holds.sum(0) > 1).any()):
            raise EditError(
                f"Reallocate needs disjoint spans, but some of {list(names)} overlap; name disjoint ones with spans=."
            )
        self.program.reallocate.append(Reallocating(edit, holds, rows))
        return self._count(rows, holds.any(0))

    @_add.register
    def _(self, edit: Rewrite, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        steps = self.program.rewrite_logits if edit.on == "logits" else self.program.rewrite_weights
        steps.append(Rewriting(edit, heads, self._query_rows(edit.queries)))
        return self._count(rows)

    @_add.register
    def _(self, edit: ScaleValues, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        atoms = self._atoms(edit.span)
        chosen = atoms if rows is None else atoms & rows
        factor = torch.where(chosen, self._strength(edit.c), 1.0)
        self.program.value_scale = factor if self.program.value_scale is None else self.program.value_scale * factor
        return self._count(rows, atoms)

    @_add.register
    def _(self, edit: ScaleHeads, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        gamma = self._strength(edit.gamma)
        self.program.output.append(OutputEdit(scale=gamma if rows is None else torch.where(rows, gamma, 1.0)))
        return self._count(rows)

    @_add.register
    def _(self, edit: Shift, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        program, visible = self.program, self.program.visible
        width = {"q": program.q, "k": program.k, "v": program.v, "out": program.v}[edit.where].shape[-1]
        kv = edit.where in ("k", "v") and heads is None and edit.vector.shape[:-1] != (visible.heads,)
        expected = program.k.shape[1] if kv else visible.heads
        if edit.vector.shape[-1] != width or (edit.vector.dim() == 2 and edit.vector.shape[0] != expected):
            raise EditError(
                f"Shift({edit.where!r}) needs a vector [{width}] or [{expected}, {width}], "
                f"found {list(edit.vector.shape)}."
            )
        vector = edit.vector.to(device=visible.device, dtype=self.program.dtype)
        vector = vector.view(1, -1, 1, width)
        if edit.where in ("q", "out"):
            moved = vector if rows is None else torch.where(rows, vector, 0.0)
            if edit.where == "out":
                program.output.append(OutputEdit(shift=moved))
            else:
                program.q = program.q.to(program.dtype) + moved
            return self._count(rows)
        atoms = self._atoms(edit.span) if edit.span is not None else torch.ones_like(self._atoms_shape())
        keys = self.program.atoms.spread(atoms.view(1, 1, 1, -1)).transpose(-1, -2)
        moved = torch.where(keys if rows is None else keys & rows, vector, 0.0)
        tensor = program.k if edit.where == "k" else program.v
        if not kv:
            tensor = tensor.repeat_interleave(visible.heads // tensor.shape[1], dim=1)
        shifted = tensor.to(program.dtype) + moved
        program.k, program.v = (shifted, program.v) if edit.where == "k" else (program.k, shifted)
        return self._count(rows, atoms)

    def _add_bias(self, span: SpanRef, value: Tensor, rows: Tensor | None) -> Tensor | int:
        program, atoms = self.program, self._atoms(span)
        chosen = atoms if rows is None else atoms & rows
        hides = torch.isneginf(value)
        if bool(hides.any()):
            hidden = chosen & hides
            program.hidden = hidden if program.hidden is None else program.hidden | hidden
        if not bool(hides.all()):
            bias = torch.where(chosen & ~hides, value, 0.0)
            program.bias = bias if program.bias is None else program.bias + bias
        return self._count(rows, atoms)

    def _atoms_shape(self) -> Tensor:
        return torch.zeros(self.program.atoms.count, dtype=torch.bool, device=self.program.visible.device)

    def _atoms(self, span: SpanRef) -> Tensor:
        return self.program.atoms.holds(span)

    def _strength(self, strength: Strength) -> Tensor:
        """A strength that broadcasts to ``[B, Hq, Q, 1]``."""
        visible = self.program.visible
        value = torch.as_tensor(strength, dtype=self.program.dtype, device=visible.device)
        if value.dim() == 0:
            return value.view(1, 1, 1, 1)
        full = (visible.batch, visible.heads, visible.queries)
        if value.dim() == 1:
            value = value.view(1, -1, 1)
        if value.dim() != 3 or any(have not in (1, want) for have, want in zip(value.shape, full, strict=True)):
            raise EditError(
                f"a strength is a number, a tensor [Hq] = [{full[1]}], or broadcasts to [B, Hq, Q] = {list(full)}; "
                f"found {list(value.shape)}."
            )
        return value.unsqueeze(-1)

    def _head_rows(self, heads: list[int] | None) -> Tensor | None:
        if heads is None:
            return None
        chosen = torch.zeros(self.program.visible.heads, dtype=torch.bool, device=self.program.visible.device)
        chosen[heads] = True
        return chosen.view(1, -1, 1, 1)

    def _query_rows(self, queries: QueryRef) -> Tensor | None:
        """Chosen rows, boolean ``[B or 1, 1, Q, 1]``."""
        if queries is None:
            return None
        visible = self.program.visible
        if isinstance(queries, str):
            chosen = self._query_span(queries)
        elif isinstance(queries, Tensor) and queries.dtype == torch.bool:
            chosen = queries.to(visible.device) if queries.dim() == 2 else queries.to(visible.device).unsqueeze(0)
        else:
            chosen = torch.zeros(1, visible.queries, dtype=torch.bool, device=visible.device)
            index = queries if isinstance(queries, slice) else torch.as_tensor(queries, device=visible.device).long()
            try:
                chosen[:, index] = True
            except IndexError as error:
                raise EditError(f"queries={queries!r} reaches outside the {visible.queries} queries.") from error
        if chosen.dim() != 2 or chosen.shape[1] != visible.queries or chosen.shape[0] not in (1, visible.batch):
            raise EditError(
                f"queries must cover [B, Q] = [{visible.batch}, {visible.queries}], found {list(chosen.shape)}."
            )
        return chosen[:, None, :, None]

    def _query_span(self, name: str) -> Tensor:
        visible = self.program.visible
        if self.query_spans is not None:
            return self.query_spans[name]
        if self.spans is None:
            raise SpanError(f"queries={name!r} names a span, but the call has none; pass spans= or query_spans=.")
        if visible.offset < 0:
            raise SpanError(
                f"queries={name!r} names a span over keys, but there are more queries ({visible.queries}) than keys "
                f"({visible.keys}); pass query_spans=."
            )
        return self.spans[name][:, visible.offset :]

    def _count(self, rows: Tensor | None, atoms: Tensor | None = None) -> Tensor | int:
        """Rows (sample, head, query) that an edit reaches; with ``atoms``, only rows that see one of them."""
        visible = self.program.visible
        total = visible.batch * visible.heads * visible.queries
        if atoms is None:
            return total if rows is None else rows.expand(visible.batch, visible.heads, visible.queries, 1).sum()
        groups = (self.program.atoms.onehot & atoms).any(-1, keepdim=True)
        seen = visible.sees(groups)
        chosen = seen if rows is None else seen & rows
        return chosen.expand(visible.batch, visible.heads, visible.queries, 1).sum()

    def _refuse_empty_rows(self) -> None:
        hidden = self.program.hidden
        if hidden is None:
            return
        seen = self.program.visible.sees(self.program.atoms.onehot)
        emptied = seen.any(-1) & ~(seen & ~hidden).any(-1)
        refuse_rows(emptied, "the edits leave it nothing to attend to")


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


def _both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return first if second is None else second
    return first & second


def _label(edit: object) -> str:
    span = getattr(edit, "span", None)
    return type(edit).__name__ + (f"({span!r})" if span is not None else "")
