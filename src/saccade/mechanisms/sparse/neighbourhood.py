"""Neighbourhood attention in one and two dimensions (paper 227)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.linear.local import Grid, check_grid, on_grid
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.sparse.tiles import Tiles
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``window``: keys that a query sees along an axis; ``dilation``: distance between them.

    ``grid``: rows and columns of an image's tokens; None: the tokens are a sequence.
    """

    window: int = 7
    dilation: int = 1
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.window < 1 or self.dilation < 1:
            raise MechanismError(f"window and dilation must be at least 1, found {self.window}, {self.dilation}")


class Neighbourhood(QKV):
    """o_i = Σ_{j ∈ N(i)} softmax_j(q_i·k_j / √d) v_j, N(i) the ``window`` nearest places along each axis.

    Along an axis of n places with dilation δ, i = r + δ p (r < δ) sees r + δ s, ..., r + δ (s + w − 1). s = p − ⌊w/2⌋,
    but not below 0 nor above ⌈(n − r)/δ⌉ − w: at the edges the window does not shrink but stands off centre. On a grid
    N(i) is the product of both axes. An axis shorter than the window is seen whole, where the paper's kernels refuse.

    The paper's fused kernel tiles queries along each axis and reads the keys that a tile can reach; so does the fast
    path, with the framework's fused kernel inside a tile: O(n wᵃ) work on a axes, memory O(n).

    >>> from saccade.mechanisms import mechanism
    >>> m = mechanism("neighbourhood", dim=32, heads=4, window=3, grid=(6, 8))
    >>> m(torch.randn(2, 48, 32), causal=False).shape
    torch.Size([2, 48, 32])
    """

    info = Info(
        name="neighbourhood",
        summary="softmax over the w nearest places, or w × w of a grid",
        papers=(227,),
        family="sparse",
        patterns=("self",),
        cost=1,
        decode="none",
        fast="tiles of queries on the keys that they can reach",
    )
    Options = Options
    trial = Options(window=3)
    compact = True
    native = True

    def build(self) -> None:
        if self.options.grid is not None:
            self.info = on_grid(self.info)

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        index = torch.arange(q.shape[-2], device=q.device)
        grid, visible = self.options.grid, view.visible()
        if grid is None:
            near = self.near(index[:, None], index, self.count(view, len(index)))[:, None]
        else:
            check_grid(grid, len(index))
            places = ((index // grid[1], grid[0]), (index % grid[1], grid[1]))
            rows, columns = (self.near(at[:, None], at, torch.full((1,), size)) for at, size in places)
            near = rows & columns
        return masked_softmax(q @ k.mT / q.shape[-1] ** 0.5, near if visible is None else near & visible) @ v

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        grid, tokens = self.options.grid, q.shape[-2]
        if grid is None:
            return self.axis(tokens, self.count(view, tokens)).only(view.mask).attend(q, k, v)
        check_grid(grid, tokens)
        rows, columns = (self.axis(size, torch.full((1,), size, device=q.device)) for size in grid)
        return rows.by(columns).attend(q, k, v)

    def count(self, view: View, tokens: int) -> Tensor:
        """How many tokens there are, ``[B or 1]``."""
        return torch.full((1,), tokens, device=view.k_pos.device) if view.mask is None else view.mask.sum(-1)

    def near(self, i: Tensor, j: Tensor, size: Tensor) -> Tensor:
        """Whether place i of an axis of ``size`` ``[B]`` places sees place j, boolean ``[B, *shape of i and j]``."""
        window, dilation = self.options.window, self.options.dilation
        size = size.to(i.device).view(-1, *[1] * max(i.dim(), j.dim()))
        rest = i % dilation
        last = torch.div(size - rest + dilation - 1, dilation, rounding_mode="floor") - window
        start = (i // dilation - window // 2).minimum(last).clamp(min=0)
        step = j // dilation - start
        seen: Tensor = (j % dilation == rest) & (step >= 0) & (step < window)
        return seen

    def axis(self, size: int, count: Tensor) -> Tiles:
        """Tiles of an axis; they reach wider where samples end before ``size``, since any window may be moved then."""
        dilation, device = self.options.dilation, count.device
        steps = -(-size // dilation)
        window = min(self.options.window, steps)
        side = max(2, -(-window // 2))
        reach = window // 2 if len(count) == 1 and int(count) == size else window - 1
        wide = min(side + 2 * reach, steps)
        first = torch.arange(0, steps, side, device=device)[:, None]
        base = (first - reach).clamp(0, steps - wide)
        rest = torch.arange(dilation, device=device)[:, None, None]
        queries, keys = (
            ((start + torch.arange(length, device=device)) * dilation + rest).flatten(0, 1)
            for start, length in ((first, side), (base, wide))
        )
        return Tiles.of(size, queries, keys, self.near(queries[..., None], keys[:, None], count))
