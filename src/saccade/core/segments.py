"""Fused lowering by segments: the kernel runs once per run of keys, and log-sum-exps put the runs together.

With o_t and l_t the output and log-sum-exp of attention restricted to atom t, any edit that is constant on atoms is
``A v = sum_t w_t o_t`` with ``w = softmax_t(l_t + bias_t)``, exactly: strengths may differ per head and row at no cost,
the masses are w itself, and no mask or extra width is needed. The work is that of plain attention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
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
        values: ``A X``, ``[B, Hq, Q, C]``; empty where the parts are kept instead.
        lse: log-sum-exp of the edited logits without sinks ``[B, Hq, Q]``, if the kernel returns it.
        atom_lse: log-sum-exp of the logits on each atom before any bias ``[B, Hq, Q, T]``, if known.
        parts: attention restricted to each atom, T times ``[B, Hq, Q, C]``, if kept.
    """

    values: Tensor
    lse: Tensor | None = None
    atom_lse: Tensor | None = None
    parts: list[Tensor] = field(default_factory=list)


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
        found = [self._attend(samples, runs, values, bias, hidden, scales, keep) for samples, runs in groups]
        owners = [samples for samples, _ in groups]
        return Pass(
            torch.empty(0) if keep else _whole([part.values for part in found], owners),
            _gather([part.lse for part in found], owners),
            _gather([part.atom_lse for part in found], owners),
            [_whole(list(atom), owners) for atom in zip(*(part.parts for part in found), strict=True)],
        )

    def transpose(self, g: Tensor, bias: Tensor | None, hidden: Tensor | None, lse: Tensor) -> Tensor:
        """``A^T g`` for g ``[B, Hq, Q, C]``: ``[B, Hq, K, C]``."""
        visible = self.program.visible
        received = torch.zeros(visible.batch, visible.heads, visible.keys, g.shape[-1], dtype=self.program.dtype)
        lse = lse.masked_fill(torch.isneginf(lse), math.inf)
        for samples, runs in self.groups:
            q, k, scale, key_bias = self._inputs(samples)
            k = kernels.repeat_heads(k, q.shape[1])
            for run in runs:
                (rows, causal), keys = self._rows(run), slice(run.start, run.end)
                effective = _pick(lse, samples)[..., rows]
                if bias is not None:
                    effective = effective - take_rows(_pick(bias, samples), rows)[..., run.atom]
                if hidden is not None:
                    effective = effective.masked_fill(take_rows(_pick(hidden, samples), rows)[..., run.atom], math.inf)
                received[samples, :, keys] += kernels.transpose(
                    q[:, :, rows].to(self.program.dtype),
                    k[:, :, keys].to(self.program.dtype),
                    _pick(g, samples)[:, :, rows].to(self.program.dtype),
                    effective.expand(q.shape[0], q.shape[1], -1),
                    scale=scale,
                    causal=causal,
                    mask=None if key_bias is None else key_bias[..., keys],
                )
        return received

    def _rows(self, run: Run) -> tuple[slice, bool]:
        """Rows that see a run, and whether causally: those inside it see the keys up to their own, later ones all."""
        visible = self.program.visible
        first = run.start - visible.offset
        return (slice(first, None), True) if visible.causal and first >= 0 else (slice(None), False)

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
        shape = (batch, heads, queries, values.shape[-1])
        whole, parts = _Sum(shape, dtype), [_Sum(shape, dtype) for _ in range(count if keep else 0)]
        by_atom = torch.full((count, batch, heads, queries), -math.inf, dtype=dtype)
        seen: set[int] = set()
        for run in runs:
            (rows, causal), keys, atom = self._rows(run), slice(run.start, run.end), run.atom
            mask = None if key_bias is None else key_bias[..., keys]
            out, lse = _kernel(q[:, :, rows], k[:, :, keys], values[:, :, keys], scale, causal, mask)
            out = out.to(dtype)
            so_far = by_atom[atom][..., rows]
            so_far.copy_(torch.logaddexp(so_far, lse) if atom in seen else lse)
            seen.add(atom)
            if keep:
                parts[atom].add(rows, out, lse)
                continue
            if factor is not None:
                out = out * take_rows(factor, rows)[..., atom : atom + 1]
            if bias is not None:
                lse = lse + take_rows(bias, rows)[..., atom]
            if hidden is not None:
                lse = lse.masked_fill(take_rows(hidden, rows)[..., atom], -math.inf)
            whole.add(rows, out, lse)
        if keep:
            return Pass(torch.empty(0), None, by_atom.permute(1, 2, 3, 0), [part.values for part in parts])
        return Pass(whole.values, whole.lse, by_atom.permute(1, 2, 3, 0))


class _Sum:
    """Attention over disjoint sets of keys, put together by log-sum-exps; zero and ``-inf`` where there is none."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        self._values: Tensor | None = None
        self._lse: Tensor | None = None

    @property
    def values(self) -> Tensor:
        """``[B, Hq, Q, C]``."""
        if self._values is None:
            self._values = torch.zeros(self.shape, dtype=self.dtype)
        return self._values

    @property
    def lse(self) -> Tensor:
        """``[B, Hq, Q]``."""
        if self._lse is None:
            self._lse = torch.full(self.shape[:3], -math.inf, dtype=self.dtype)
        return self._lse

    def add(self, rows: slice, out: Tensor, lse: Tensor) -> None:
        """Add attention of the rows from ``rows.start`` on over further keys."""
        if self._values is None and out.shape[2] == self.shape[2] and not torch.isneginf(lse).any():
            self._values, self._lse = out, lse
            return
        values, total = self.values[:, :, rows], self.lse[..., rows]
        share = torch.sigmoid(lse - total).nan_to_num_(0.0)
        values.lerp_(out, share.unsqueeze(-1))
        torch.logaddexp(total, lse, out=total)


def combine(parts: list[Tensor], weights: Tensor, factor: Tensor | None) -> Tensor:
    """``sum_t w_t c_t o_t`` of T parts ``[B, Hq, Q, C]`` and atom weights ``[B, Hq, Q, T]``."""
    weights = weights if factor is None else weights * factor
    whole = parts[0] * weights[..., :1]
    for atom in range(1, len(parts)):
        whole.addcmul_(parts[atom], weights[..., atom : atom + 1])
    return whole


def _kernel(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    out, lse = kernels.CpuFlash()(q, k, v, scale=scale, causal=causal, mask=mask)
    assert lse is not None
    return out, lse


def _gather(parts: list[Tensor | None], owners: list[Samples]) -> Tensor | None:
    given = [part for part in parts if part is not None]
    return _whole(given, owners) if given else None


def _whole(parts: list[Tensor], owners: list[Samples]) -> Tensor:
    """The whole batch from the results of groups of samples."""
    batch = sum(part.shape[0] for part in parts)
    whole = torch.empty(batch, *parts[0].shape[1:], dtype=parts[0].dtype)
    for part, samples in zip(parts, owners, strict=True):
        whole[samples] = part
    return whole


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
    change = ((code[1:] != code[:-1]).nonzero()[:, 0] + 1).tolist()
    edges = sorted({0, code.shape[0], *change, *([cut] if 0 < cut < code.shape[0] else [])})
    atoms = code[edges[:-1]].tolist()
    return [Run(start, end, atom) for start, end, atom in zip(edges[:-1], edges[1:], atoms, strict=True) if atom >= 0]
