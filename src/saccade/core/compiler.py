"""From edits to a program: each edit becomes numbers per atom, checked against what the rows can see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatchmethod

import torch
from torch import Tensor

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
from .errors import EditError, SpanError
from .kernels import repeat_heads
from .program import OutputEdit, OutputRewrite, Program, Reallocating, Rewriting, refuse_rows
from .sites import Site, heads_at
from .spans import Spans


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
        program.k, program.v = repeat_heads(program.k, heads), repeat_heads(program.v, heads)

    def _keep_precision(self) -> None:
        """Edits of q, k and v themselves would be rounded in 16-bit floats; such calls run in float32."""
        program = self.program
        tempered = program.temper is not None and program.temper.numel() > 1
        if tempered or not program.q.dtype == program.k.dtype == program.v.dtype:
            program.q, program.k, program.v = (x.to(program.dtype) for x in (program.q, program.k, program.v))

    @singledispatchmethod
    def _add(self, edit: object, heads: list[int] | None, rows: Tensor | None) -> Tensor | int:
        raise TypeError(f"{edit!r} is not an edit")

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
        if edit.on == "outputs":
            self.program.output.append(OutputRewrite(edit.fn, heads, rows))
            return self._count(rows)
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
            tensor = repeat_heads(tensor, visible.heads)
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
        full, given = (visible.batch, visible.heads, visible.queries), list(value.shape)
        if value.dim() == 1:
            value = value.view(1, -1, 1)
        if value.dim() != 3 or any(have not in (1, want) for have, want in zip(value.shape, full, strict=True)):
            raise EditError(
                f"a strength is a number, a tensor [Hq] = [{full[1]}], or broadcasts to [B, Hq, Q] = {list(full)}; "
                f"found {given}."
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


def _both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return first if second is None else second
    return first & second


def _label(edit: object) -> str:
    span = getattr(edit, "span", None)
    return type(edit).__name__ + (f"({span!r})" if span is not None else "")
