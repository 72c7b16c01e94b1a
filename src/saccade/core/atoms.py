"""Atoms: the coarsest cut of the keys such that each span is a union of atoms.

Edits that are constant on spans are constant on atoms, and atoms never overlap. Every engine works on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .edits import Outside, SpanRef, span_names
from .errors import SpanError
from .spans import Spans


@dataclass(frozen=True, eq=False)
class Atoms:
    """T atoms over the keys of a call.

    Attributes:
        code: the atom of each key, long ``[B or 1, K]``.
        member: which of ``names`` contain each atom, boolean ``[T, S]``.
        names: the spans that were cut.
    """

    code: Tensor
    member: Tensor
    names: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of atoms T."""
        return self.member.shape[0]

    @cached_property
    def onehot(self) -> Tensor:
        """Membership of each key, boolean ``[B or 1, K, T]``."""
        return self.code[..., None] == torch.arange(self.count, device=self.code.device)

    def holds(self, span: SpanRef) -> Tensor:
        """Which atoms make up a span, boolean ``[T]``."""
        columns = [self.names.index(name) for name in span_names(span)]
        inside = self.member[:, columns].any(dim=1)
        return ~inside if isinstance(span, Outside) else inside

    def spread(self, values: Tensor) -> Tensor:
        """Per-key values ``[B, H, q, K]`` of per-atom values ``[b, h, q, T]``."""
        if self.code.shape[0] == 1:
            return values[..., self.code[0]]
        batch, (heads, rows) = self.code.shape[0], values.shape[1:3]
        index = self.code[:, None, None].expand(batch, heads, rows, -1)
        return values.expand(batch, -1, -1, -1).gather(-1, index)


def partition(spans: Spans, names: Sequence[str]) -> Atoms:
    """The atoms of some spans; remembered by ``spans``, which never change."""
    key = ("atoms", tuple(names))
    found = spans._cache.get(key)
    if not isinstance(found, Atoms):
        found = spans._cache[key] = _partition(spans, tuple(names))
    return found


def _partition(spans: Spans, names: tuple[str, ...]) -> Atoms:
    if not names:
        raise SpanError("cutting keys into atoms needs at least one span, found none.")
    member = spans.tensor[:, [spans.index(name) for name in names]]
    batch, count, keys = member.shape
    if count <= 62:
        weights = 2 ** torch.arange(count, device=member.device)
        signatures, code = torch.unique((member.long() * weights[:, None]).sum(1), return_inverse=True)
        table = (signatures[:, None] & weights) > 0
    else:
        columns = member.transpose(1, 2).reshape(batch * keys, count)
        table, code = torch.unique(columns, dim=0, return_inverse=True)
    return Atoms(code.view(batch, keys), table, names)


def everything(keys: int, device: torch.device) -> Atoms:
    """One atom that holds every key, for calls without spans."""
    code = torch.zeros(1, keys, dtype=torch.long, device=device)
    return Atoms(code, torch.zeros(1, 0, dtype=torch.bool, device=device), ())
