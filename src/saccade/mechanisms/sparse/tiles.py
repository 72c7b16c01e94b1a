"""Local attention in tiles: a few queries that stand together, and the few keys that any of them sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.attention import attention


@dataclass(frozen=True, eq=False)
class Tiles:
    """How ``size`` places are dealt to T tiles of t queries and u keys; a place from ``size`` on does not exist.

    Attributes:
        size: number of places.
        queries: place of each query, integers ``[T, t]``; every place occurs once.
        keys: place of each key, integers ``[T, u]``.
        visible: whether a query sees a key, boolean ``[B or 1, T, t, u]``; nothing where either does not exist.
    """

    size: int
    queries: Tensor
    keys: Tensor
    visible: Tensor

    @classmethod
    def of(cls, size: int, queries: Tensor, keys: Tensor, near: Tensor) -> Tiles:
        """Tiles in which existing places see one another where they are ``near``."""
        return cls(size, queries, keys, near & (queries < size)[..., None] & (keys < size)[..., None, :])

    def by(self, columns: Tiles) -> Tiles:
        """Tiles of a grid, these being those of its rows: a query sees what it sees along both axes."""
        size = self.size * columns.size
        cells = []
        for row, column in ((self.queries, columns.queries), (self.keys, columns.keys)):
            down, along = row[:, None, :, None], column[None, :, None, :]
            there = (down < self.size) & (along < columns.size)
            cells.append(torch.where(there, down * columns.size + along, size).flatten(2).flatten(0, 1))
        rows = self.visible[:, :, None, :, None, :, None]
        both = rows & columns.visible[:, None, :, None, :, None, :]
        return Tiles(size, cells[0], cells[1], both.flatten(5).flatten(3, 4).flatten(1, 2))

    def only(self, tokens: Tensor | None) -> Tiles:
        """The same, without the keys where ``tokens`` ``[B, size]`` is False."""
        if tokens is None:
            return self
        there = tokens[:, self.keys.clamp(max=self.size - 1)]
        return Tiles(self.size, self.queries, self.keys, self.visible & there[:, :, None])

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q·k / √d) v over what is visible, ``[B, H, size, D]``, all tiles at once."""
        batch, heads = q.shape[:2]
        q, k, v = (
            t.flatten(0, 1).transpose(0, 1)[places.clamp(max=self.size - 1)].transpose(1, 2)
            for t, places in ((q, self.queries), (k, self.keys), (v, self.keys))
        )
        mask = self.visible.transpose(0, 1)
        mask = mask if len(self.visible) == 1 else mask.repeat_interleave(heads, dim=1)
        out = attention(q, k, v, mask=mask).values
        back = self.queries.flatten().argsort()[: self.size]
        mixed: Tensor = out.transpose(1, 2).flatten(0, 1)[back].transpose(0, 1).unflatten(0, (batch, heads))
        return mixed
