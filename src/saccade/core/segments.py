"""Fused lowering by segments: the kernel runs once per run of keys, and log-sum-exps put the runs together.

With o_t and l_t the output and log-sum-exp of attention restricted to atom t, any edit that is constant on atoms is
``A v = sum_t w_t o_t`` with ``w = softmax_t(l_t + bias_t)``, exactly: strengths may differ per head and row at no cost,
the masses are w itself, and no mask or extra width is needed. The work is that of plain attention.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import torch
from torch import Tensor

from . import kernels
from .program import Program
from .visibility import take_rows

Samples = slice | Tensor


@dataclass(frozen=True)
class Run:
    """Keys ``[start, end)`` of one atom."""

    start: int
    end: int
    atom: int


@dataclass(eq=False)
class Pass:
    """Outcome of one pass of attention over values ``X [B, Hkv or 1, K, C]``.

    Attributes:
        values: ``A X``, ``[B, Hq, Q, C]``.
        lse: log-sum-exp of the edited logits without sinks ``[B, Hq, Q]``, if the kernel returns it.
        atom_lse: log-sum-exp of the logits on each atom before any bias ``[B, Hq, Q, T]``, if known.
        parts: attention restricted to each atom ``[T, B, Hq, Q, C]``, if kept.
    """

    values: Tensor
    lse: Tensor | None = None
    atom_lse: Tensor | None = None
    parts: Tensor | None = None


@dataclass(eq=False)
class Segments:
    """Attention as a sum over runs of keys. Serves causal and key masks, without gradients."""

    program: Program

    @cached_property
    def groups(self) -> list[tuple[Samples, list[Run]]]:
        """Samples that share their runs, with these runs."""
        program = self.program
        code = program.atoms.code
        if program.visible.key is not None:
            code = torch.where(program.visible.key, code, -1)
        cut = program.visible.offset if program.visible.causal else 0
        if code.shape[0] == 1:
            return [(slice(None), _runs(code[0], cut))]
        rows, owner = torch.unique(code, dim=0, return_inverse=True)
        return [(_samples(owner == index), _runs(row, cut)) for index, row in enumerate(rows)]

    def attend(self, values: Tensor, bias: Tensor | None, hidden: Tensor | None, scales: bool, keep: bool) -> Pass:
        """One pass over ``values``; ``scales``: apply the value scales; ``keep``: parts by atom, not their sum."""
        groups = self.groups
        if len(groups) == 1:
            return self._attend(slice(None), groups[0][1], values, bias, hidden, scales, keep)
        visible, count = self.program.visible, self.program.atoms.count
        rows = (visible.batch, visible.heads, visible.queries)
        dtype = self.program.dtype
        whole = Pass(
            torch.empty(*rows, values.shape[-1], dtype=dtype),
            torch.empty(rows, dtype=dtype),
            torch.empty(*rows, count, dtype=dtype),
            torch.empty(count, *rows, values.shape[-1], dtype=dtype) if keep else None,
        )
        for samples, runs in groups:
            part = self._attend(samples, runs, values, bias, hidden, scales, keep)
            for mine, theirs in ((whole.values, part.values), (whole.lse, part.lse), (whole.atom_lse, part.atom_lse)):
                if mine is not None and theirs is not None:
                    mine[samples] = theirs
            if whole.parts is not None and part.parts is not None:
                whole.parts[:, samples] = part.parts
        return whole

    def transpose(self, g: Tensor, bias: Tensor | None, hidden: Tensor | None, lse: Tensor) -> Tensor:
        """``A^T g`` for g ``[B, Hq, Q, C]``: ``[B, Hq, K, C]``."""
        visible = self.program.visible
        received = torch.zeros(visible.batch, visible.heads, visible.keys, g.shape[-1], dtype=self.program.dtype)
        lse = lse.masked_fill(torch.isneginf(lse), math.inf)
        for samples, runs in self.groups:
            q, k, scale, key_bias = self._inputs(samples)
            k = kernels.repeat_heads(k, q.shape[1])
            for run in runs:
                effective = _pick(lse, samples) - _atom(_pick(bias, samples), run.atom, 0.0)
                if hidden is not None:
                    effective = effective.masked_fill(_atom(_pick(hidden, samples), run.atom, 0.0), math.inf)
                for rows, causal in self._blocks(run):
                    keys = slice(run.start, run.end)
                    mask = None if key_bias is None else key_bias[..., keys]
                    found = kernels.transpose(
                        q[:, :, rows].to(self.program.dtype),
                        k[:, :, keys].to(self.program.dtype),
                        _pick(g, samples)[:, :, rows].to(self.program.dtype),
                        effective.expand(q.shape[0], q.shape[1], -1)[:, :, rows],
                        scale=scale,
                        causal=causal,
                        mask=mask,
                    )
                    received[samples, :, keys] += found
        return received

    def _blocks(self, run: Run) -> Iterator[tuple[slice, bool]]:
        """Rows that see a run: those that stand inside it (causal) and those after it (all of it)."""
        visible = self.program.visible
        if not visible.causal:
            yield slice(0, visible.queries), False
            return
        first, after = run.start - visible.offset, min(max(run.end - visible.offset, 0), visible.queries)
        if first >= 0 and after > first:
            yield slice(first, after), True
        if after < visible.queries:
            yield slice(after, visible.queries), False

    def _inputs(self, samples: Samples) -> tuple[Tensor, Tensor, float, Tensor | None]:
        program, key_bias = self.program, self.program.visible.additive
        q, scale = program.tempered()
        if key_bias is not None:
            key_bias = key_bias.to(program.dtype) * (1.0 if program.temper is None else program.temper)
            key_bias = _pick(key_bias, samples)
        return _pick(q, samples), _pick(program.k, samples), scale, key_bias

    def _attend(
        self,
        samples: Samples,
        runs: list[Run],
        values: Tensor,
        bias: Tensor | None,
        hidden: Tensor | None,
        scales: bool,
        keep: bool,
    ) -> Pass:
        q, k, scale, key_bias = self._inputs(samples)
        values, bias, hidden = _pick(values, samples), _pick(bias, samples), _pick(hidden, samples)
        factor = _pick(self.program.value_scale, samples) if scales else None
        batch, heads, queries, _ = q.shape
        dtype, count = self.program.dtype, self.program.atoms.count
        whole = torch.zeros(batch, heads, queries, values.shape[-1], dtype=dtype)
        total = torch.full((batch, heads, queries), -math.inf, dtype=dtype)
        by_atom = torch.full((count, batch, heads, queries), -math.inf, dtype=dtype)
        parts = torch.zeros(count, *whole.shape, dtype=dtype) if keep else None
        seen: set[int] = set()
        for run in runs:
            keys = slice(run.start, run.end)
            for rows, causal in self._blocks(run):
                mask = None if key_bias is None else key_bias[..., keys]
                out, lse = _kernel(q[:, :, rows], k[:, :, keys], values[:, :, keys], scale, causal, mask)
                out = out.to(dtype)
                if parts is not None:
                    _merge(parts[run.atom][:, :, rows], by_atom[run.atom][..., rows], out, lse, run.atom not in seen)
                    continue
                _accumulate(by_atom[run.atom][..., rows], lse)
                if factor is not None:
                    out = out * take_rows(factor, rows)[..., run.atom : run.atom + 1]
                if bias is not None:
                    lse = lse + take_rows(bias, rows)[..., run.atom]
                if hidden is not None:
                    lse = lse.masked_fill(take_rows(hidden, rows)[..., run.atom], -math.inf)
                _merge(whole[:, :, rows], total[..., rows], out, lse, not seen)
            seen.add(run.atom)
        return Pass(whole, total, by_atom.permute(1, 2, 3, 0), parts)


def combine(parts: Tensor, weights: Tensor, factor: Tensor | None) -> Tensor:
    """``sum_t w_t c_t o_t`` of parts ``[T, B, Hq, Q, C]`` and atom weights ``[B, Hq, Q, T]``."""
    weights = weights if factor is None else weights * factor
    return sum((parts[atom] * weights[..., atom : atom + 1] for atom in range(parts.shape[0])), torch.zeros(()))


def _kernel(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    out, lse = kernels.CpuFlash()(q, k, v, scale=scale, causal=causal, mask=mask)
    assert lse is not None
    return out, lse


def _merge(whole: Tensor, total: Tensor, out: Tensor, lse: Tensor, first: bool) -> None:
    """Add a block to attention that was computed so far, in place; ``first``: there is nothing so far."""
    if first:
        whole.copy_(out.masked_fill(torch.isneginf(lse).unsqueeze(-1), 0.0) if torch.isneginf(lse).any() else out)
        total.copy_(lse)
        return
    new = torch.logaddexp(total, lse)
    share = torch.where(torch.isneginf(lse), 0.0, (lse - new).exp())
    whole.lerp_(out, share.unsqueeze(-1))
    total.copy_(new)


def _accumulate(total: Tensor, lse: Tensor) -> None:
    total.copy_(torch.logaddexp(total, lse))


def _atom(values: Tensor | None, atom: int, default: float) -> Tensor:
    return torch.tensor(default) if values is None else values[..., atom]


@overload
def _pick(tensor: Tensor, samples: Samples) -> Tensor: ...


@overload
def _pick(tensor: None, samples: Samples) -> None: ...


def _pick(tensor: Tensor | None, samples: Samples) -> Tensor | None:
    return tensor if tensor is None or tensor.shape[0] == 1 else tensor[samples]


def _samples(chosen: Tensor) -> Samples:
    """The chosen samples; a slice where they are neighbours, which copies nothing."""
    index = chosen.nonzero()[:, 0]
    first, last = int(index[0]), int(index[-1])
    return slice(first, last + 1) if last - first + 1 == len(index) else index


def _runs(code: Tensor, cut: int) -> list[Run]:
    """Runs of equal atoms in one sample's keys; hidden keys (-1) are left out, and no run straddles ``cut``."""
    change = (code[1:] != code[:-1]).nonzero()[:, 0] + 1
    edges = sorted({0, code.shape[0], *change.tolist(), *([cut] if 0 < cut < code.shape[0] else [])})
    atoms = code[edges[:-1]].tolist()
    return [Run(start, end, atom) for start, end, atom in zip(edges[:-1], edges[1:], atoms, strict=True) if atom >= 0]
