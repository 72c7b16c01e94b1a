"""Depth-wise convolutions over tokens that stand in a row or in a grid."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info

Grid = tuple[int, int]


def on_grid(info: Info) -> Info:
    """The facts of a mechanism that was given a grid: it needs every cell of it."""
    return replace(info, needs=("grid", "full"))


def check_grid(grid: Grid, tokens: int) -> None:
    """Raise MechanismError unless ``tokens`` fill the grid."""
    if grid[0] * grid[1] != tokens:
        raise MechanismError(f"a grid of {grid[0]} × {grid[1]} cells does not hold {tokens} tokens; change grid=")


def depthwise(x: Tensor, kernel: Tensor, grid: Grid | None) -> Tensor:
    """Each channel of x [B,N,C] with its own kernel, odd in size, centred, zeros outside: [B,N,C].

    kernel  [C,w], or [B,C,w] with one for each sample; [..., w, w] on a ``grid`` (rows, columns) of N cells
    """
    batch, tokens, channels = x.shape
    taps = 1 if grid is None else 2
    if kernel.shape[-1] % 2 == 0:
        raise MechanismError(f"a centred kernel has an odd width, found {kernel.shape[-1]}")
    each = kernel.dim() == taps + 2
    lines = x.mT if grid is None else x.mT.unflatten(-1, grid)
    if each:
        lines, kernel = lines.reshape(1, batch * channels, *lines.shape[2:]), kernel.flatten(0, 1)
    convolve = F.conv1d if grid is None else F.conv2d
    out = convolve(lines, kernel[:, None], padding=kernel.shape[-1] // 2, groups=len(kernel))
    return out.reshape(batch, channels, tokens).mT
