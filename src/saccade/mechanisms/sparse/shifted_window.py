"""Attention within windows of an image, shifted from layer to layer: that of Swin (paper 183 makes it fast)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.core.attention import attention
from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.linear.local import Grid, check_grid, on_grid
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``window``: places of a window along an axis; ``shift``: how far the first full window stands from the edge.

    ``grid``: rows and columns of an image's tokens; None: the tokens are a sequence.
    """

    window: int = 7
    shift: int = 0
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.window < 1 or not 0 <= self.shift < self.window:
            raise MechanismError(f"0 ≤ shift < window is needed, found {self.shift}, {self.window}")


@dataclass(frozen=True)
class Piece:
    """``count`` windows of ``side`` places along an axis, one after another from ``start`` on."""

    start: int
    side: int
    count: int

    @property
    def places(self) -> slice:
        """All its places."""
        return slice(self.start, self.start + self.side * self.count)


class ShiftedWindow(QKV):
    """o_i = Σ_{j in the window of i} softmax_j(q_i·k_j / √d + b_{i−j}) v_j, b learned for each head.

    Windows of w places along each axis do not overlap: place i is in window ⌊(i − shift) / w⌋. Layers of Swin alternate
    between shift 0 and ⌊w/2⌋. What is cut off at the edges is a smaller window here; Swin rolls the image so that the
    remains share a window under a mask, to the same effect, and pads where windows do not fill an axis.

    Paper 183 keeps the map of a window within the processor's fast memory; so does the fast path, whose fused kernel
    takes all windows and heads at once and writes no map. With gradients, a learned bias needs the maps: those are
    then written, some windows at a time.

    >>> from saccade.mechanisms import mechanism
    >>> m = mechanism("shifted-window", dim=32, heads=4, window=4, shift=2, grid=(8, 8))
    >>> m(torch.randn(2, 64, 32), causal=False).shape
    torch.Size([2, 64, 32])
    """

    info = Info(
        name="shifted-window",
        summary="softmax within windows of w places, or w × w of a grid, with a bias by offset",
        papers=(183,),
        family="sparse",
        patterns=("self",),
        cost=1,
        decode="none",
        parameters="a bias for each head and offset within a window",
        fast="all windows side by side in the fused kernel",
    )
    Options = Options
    trial = Options(window=4, shift=1)
    compact = True
    native = True

    def build(self) -> None:
        axes = 1 if self.options.grid is None else 2
        self.table = nn.Parameter(torch.empty(self.shape.heads, *[2 * self.options.window - 1] * axes))
        nn.init.trunc_normal_(self.table, std=0.02)
        if self.options.grid is not None:
            self.info = on_grid(self.info)

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        index, grid, visible = torch.arange(q.shape[-2], device=q.device), self.options.grid, view.visible()
        if grid is not None:
            check_grid(grid, len(index))
        axes = [index] if grid is None else [index // grid[1], index % grid[1]]
        together = torch.stack([self.same(at[:, None], at) for at in axes]).all(dim=0)
        scores = q @ k.mT / q.shape[-1] ** 0.5 + self.bias(axes).to(q.dtype)
        return masked_softmax(scores, together if visible is None else together & visible) @ v

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        grid = self.options.grid or (q.shape[-2], 1)
        check_grid(grid, q.shape[-2])
        q, k, v = (t.unflatten(2, grid) for t in (q, k, v))
        out = v.new_zeros(*q.shape[:-1], v.shape[-1])
        for rows in self.pieces(grid[0]):
            for columns in self.pieces(grid[1]) if self.options.grid else [Piece(0, 1, 1)]:
                part = (slice(None), slice(None), rows.places, columns.places)
                mask = None if view.mask is None else view.mask[:, rows.places].reshape(-1, rows.side)
                cell = torch.arange(rows.side * columns.side, device=q.device)
                axes = [cell // columns.side, cell % columns.side][: 2 if self.options.grid else 1]
                windows = (cut(t[part], rows, columns) for t in (q, k, v))
                values = attention(*windows, mask=mask, bias=self.bias(axes)[None]).values
                split(out[part], rows, columns).copy_(paste(values, rows, columns))
        return out.flatten(2, 3)

    def pieces(self, size: int) -> list[Piece]:
        """The windows of an axis: what is cut off at its start, whole ones, and what is cut off at its end."""
        shift, window = min(self.options.shift, size), self.options.window
        whole, rest = divmod(size - shift, window)
        found = [Piece(0, shift, 1), Piece(shift, window, whole), Piece(size - rest, rest, 1)]
        return [piece for piece in found if piece.side and piece.count]

    def same(self, i: Tensor, j: Tensor) -> Tensor:
        """Whether places i and j of an axis are in one window."""
        shift, window = self.options.shift, self.options.window
        first, second = (torch.div(at - shift, window, rounding_mode="floor") for at in (i, j))
        return first == second

    def bias(self, axes: list[Tensor]) -> Tensor:
        """The bias between places, given by their coordinates ``[N]`` along each axis: ``[H, N, N]``."""
        reach = self.options.window - 1
        offsets = tuple((at[:, None] - at).clamp(-reach, reach) + reach for at in axes)
        return self.table[(slice(None), *offsets)]


def split(image: Tensor, rows: Piece, columns: Piece) -> Tensor:
    """``[B, H, rows, columns, D]`` as ``[B, H, windows, side, windows, side, D]``, a view."""
    windows: Tensor = image.unflatten(3, (columns.count, columns.side)).unflatten(2, (rows.count, rows.side))
    return windows


def cut(image: Tensor, rows: Piece, columns: Piece) -> Tensor:
    """``[B, H, rows, columns, D]`` in windows ``[B * windows, H, places, D]``."""
    return split(image, rows, columns).permute(0, 2, 4, 1, 3, 5, 6).contiguous().flatten(4, 5).flatten(0, 2)


def paste(windows: Tensor, rows: Piece, columns: Piece) -> Tensor:
    """The image of the windows, ``[B, H, rows, side, columns, side, D]`` without a copy."""
    cells = windows.unflatten(2, (rows.side, columns.side)).unflatten(0, (-1, rows.count, columns.count))
    parts: Tensor = cells.permute(0, 3, 1, 4, 2, 5, 6)
    return parts
