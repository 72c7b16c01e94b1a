"""Which query may see which key, kept as structure (causal, window, keys) and only where it must be as a dense mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .errors import ShapeError

Tile = slice | Tensor


@dataclass(frozen=True)
class Visibility:
    """Query i of Q stands at position ``p(i) = K - Q + i``; key j at j.

    Attributes:
        causal: key j is visible if ``j <= p(i)``.
        window: key j is visible if ``|p(i) - j| < window``.
        key: visible keys, boolean ``[B or 1, K]``.
        dense: visible entries, boolean, broadcastable to ``[B, Hq, Q, K]``.
        additive: finite bias added to the logits, float, broadcastable to ``[B, Hq, Q, K]``.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    device: torch.device
    causal: bool = False
    window: int | None = None
    key: Tensor | None = None
    dense: Tensor | None = None
    additive: Tensor | None = None

    @property
    def offset(self) -> int:
        """Position of the first query."""
        return self.keys - self.queries

    @property
    def structured(self) -> bool:
        """True if no entry-wise mask or bias is needed: causal and visible keys say it all."""
        return self.window is None and self.dense is None and (self.additive is None or self.additive.shape[2] == 1)

    def tile(self, rows: Tile) -> Tensor | None:
        """Visible entries of some query rows, broadcastable to ``[B, Hq, r, K]``; None if all are."""
        visible: Tensor | None = None
        if self.causal or self.window is not None:
            places = torch.arange(self.queries, device=self.device)[rows, None] + self.offset
            back = places - torch.arange(self.keys, device=self.device)
            near = back >= 0 if self.causal else torch.ones_like(back, dtype=torch.bool)
            if self.window is not None:
                near &= back.abs() < self.window
            visible = near[None, None]
        if self.key is not None:
            visible = self.key[:, None, None] if visible is None else visible & self.key[:, None, None]
        if self.dense is not None:
            dense = take_rows(self.dense, rows)
            visible = dense if visible is None else visible & dense
        return visible

    def sees(self, groups: Tensor) -> Tensor:
        """Whether a row sees any key of each group.

        Args:
            groups: boolean ``[B or 1, K, T]``.

        Returns:
            Boolean ``[B or 1, Hq or 1, Q or 1, T]``.
        """
        groups = groups if self.key is None else groups & self.key[..., None]
        if self.dense is not None:
            rows = self.queries if self.causal or self.window is not None else self.dense.shape[2]
            step = max(1, 2**22 // max(1, self.dense.shape[0] * self.dense.shape[1] * self.keys))
            starts = range(0, rows, step)
            return torch.cat([self._sees_tile(slice(at, min(at + step, rows)), groups) for at in starts], dim=2)
        if not self.causal and self.window is None:
            return groups.any(dim=1)[:, None, None]
        counts = torch.nn.functional.pad(groups.cumsum(dim=1), (0, 0, 1, 0))
        places = torch.arange(self.queries, device=self.device) + self.offset
        end = places + 1 if self.causal else places + (self.window or 0)
        start = torch.zeros_like(places) if self.window is None else places + 1 - self.window
        seen = counts[:, end.clamp(0, self.keys)] - counts[:, start.clamp(0, self.keys)]
        return seen[:, None] > 0

    def _sees_tile(self, rows: slice, groups: Tensor) -> Tensor:
        visible = self.tile(rows)
        assert visible is not None
        return torch.matmul(visible.float(), groups[:, None].float()) > 0

    def with_keys(self, key: Tensor) -> Visibility:
        """The same, with a further restriction to visible keys ``[B or 1, K]``."""
        return replace(self, key=key if self.key is None else self.key & key)


def take_rows(value: Tensor, rows: Tile) -> Tensor:
    """Some query rows of a tensor ``[b, h, q, ...]`` that may be broadcast over queries."""
    return value if value.shape[2] == 1 else value[:, :, rows]


def build(
    shape: tuple[int, int, int, int],
    device: torch.device,
    causal: bool,
    mask: Tensor | None,
    bias: Tensor | None,
    window: int | None,
) -> Visibility:
    """Visibility of a call. ``shape`` is (B, Hq, Q, K); see :func:`saccade.core.attention` for the rest."""
    batch, heads, queries, keys = shape
    if window is not None and window < 1:
        raise ShapeError(f"window counts keys and must be at least 1, found {window}.")
    last_alone = queries == 1 and keys > 0
    visible = Visibility(batch, heads, queries, keys, device, causal=bool(causal) and not last_alone, window=window)
    if mask is not None:
        four = _four_dimensional(mask, shape)
        if four.dtype == torch.bool:
            visible = _with_bool(visible, four)
        elif four.is_floating_point():
            visible = _with_float(visible, four)
        else:
            raise ShapeError(f"mask must be boolean (True = visible) or float (added to logits), found {mask.dtype}.")
    if bias is not None:
        if not bias.is_floating_point():
            raise ShapeError(f"bias is added to the logits and must be float, found {bias.dtype}.")
        visible = _with_float(visible, _four_dimensional(bias, shape))
    return visible


def _with_bool(visible: Visibility, mask: Tensor) -> Visibility:
    if mask.shape[1] == 1 and mask.shape[2] == 1:
        return visible.with_keys(mask[:, 0, 0])
    return replace(visible, dense=mask if visible.dense is None else visible.dense & mask)


def _with_float(visible: Visibility, bias: Tensor) -> Visibility:
    hidden = bias <= torch.finfo(bias.dtype).min / 2
    if bool(hidden.any()):
        visible = _with_bool(visible, ~hidden)
        bias = bias.masked_fill(hidden, 0.0)
        if not bias.requires_grad and not bool(bias.any()):
            return visible
    return replace(visible, additive=bias if visible.additive is None else visible.additive + bias)


def _four_dimensional(mask: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    batch, heads, queries, keys = shape
    if mask.dim() == 2:
        if mask.shape[0] not in (1, batch) or mask.shape[1] != keys:
            raise ShapeError(
                f"a 2-D mask is [B, K] = [{batch}, {keys}], found {list(mask.shape)}; "
                "for one mask [Q, K] of all samples pass mask[None, None]."
            )
        return mask[:, None, None]
    allowed = ((1, batch), (1, heads), (1, queries), (keys,))
    if mask.dim() != 4 or any(size not in sizes for size, sizes in zip(mask.shape, allowed, strict=True)):
        raise ShapeError(
            f"mask must be [B, K] or broadcast to [B, Hq, Q, K] = {list(shape)}, found {list(mask.shape)}."
        )
    return mask
