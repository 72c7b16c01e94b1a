"""Regions of an image as image tokens of a sequence.

A vision-language model puts the patches of an image, row by row, at the positions of its image token. :class:`Grid`
says how many there are and what stands between them; :func:`region` marks those that a box touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.core.errors import PromptError

Box = tuple[float, float, float, float]
Size = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """How the image tokens of one image are laid out.

    Args:
        rows, cols: patches of the vision encoder, height first.
        merge: patches that become one token, per axis (Qwen2-VL: 2). Must divide rows and cols.
        frames: temporal patches of a video, outermost (Qwen2-VL ``image_grid_thw[0]``).
        before: image tokens in front of the patches, such as a class token or a thumbnail.
        row_end: image tokens after each row, such as the newline of LLaVA-NeXT. Separators that are not image tokens do
            not count.
        after: image tokens behind the patches.

    Example:
        >>> Grid(24, 24).tokens, Grid(24, 24, before=1).tokens, Grid(16, 28, merge=2).tokens
        (576, 577, 112)
    """

    rows: int
    cols: int
    merge: int = 1
    frames: int = 1
    before: int = 0
    row_end: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        if min(self.rows, self.cols, self.merge, self.frames) < 1 or min(self.before, self.row_end, self.after) < 0:
            raise PromptError(f"{self} needs positive rows, cols, merge and frames, and nothing negative.")
        if self.rows % self.merge or self.cols % self.merge:
            raise PromptError(f"merge={self.merge} does not divide the {self.rows} x {self.cols} patches.")

    @property
    def shape(self) -> Size:
        """Rows and columns of tokens."""
        return self.rows // self.merge, self.cols // self.merge

    @property
    def tokens(self) -> int:
        """Number of image tokens of the image."""
        rows, cols = self.shape
        return self.before + self.frames * rows * (cols + self.row_end) + self.after

    def inside(self, box: Box, size: Size | None = None, least: float = 0.0) -> Tensor:
        """Which of the image's tokens a box touches, boolean ``[tokens]``.

        Args:
            box: left, top, right, bottom: pixels where ``size`` is given, else fractions of width and height.
            size: height and width in pixels of the image that the vision encoder sees.
            least: share of a token's area that the box must cover; at 0 any overlap of positive area counts.

        Raises:
            PromptError: a box that is empty, outside the image, in pixels without ``size``, or that no token satisfies.

        Example:
            >>> Grid(2, 4).inside((0, 0, 0.5, 0.5)).long().tolist()
            [1, 1, 0, 0, 0, 0, 0, 0]
            >>> Grid(2, 2, before=1).inside((30, 30, 40, 64), size=(64, 64)).long().tolist()
            [0, 1, 1, 1, 1]
        """
        left, top, right, bottom = _fractions(box, size)
        if not 0 <= least <= 1:
            raise PromptError(f"least is a share of a token's area, from 0 to 1; found {least}.")
        rows, cols = self.shape
        covered = _cover(top, bottom, rows)[:, None] * _cover(left, right, cols)[None, :]
        patches = (covered > 0) & (covered >= least - 1e-9)
        if not patches.any():
            raise PromptError(
                f"the box {box} covers no token to the share {least}; its largest is {float(covered.max()):.3f}."
            )
        framed = torch.nn.functional.pad(patches, (0, self.row_end)).flatten().repeat(self.frames)
        return torch.nn.functional.pad(framed, (self.before, self.after))


def region(
    input_ids: Tensor,
    image_token_id: int,
    grids: Grid | Sequence[Grid],
    box: Box,
    *,
    size: Size | None = None,
    image: int = 0,
    sample: int | None = None,
    least: float = 0.0,
) -> Tensor:
    """Key positions of the part of an image inside a box, boolean ``[B, K]``.

    Args:
        input_ids: ``[B, K]`` or ``[K]``, one image token per patch as the model's processor makes them.
        image_token_id: the id of these tokens.
        grids: the layout of every image of the sample in order, or one for all of them alike.
        box, size, least: see :meth:`Grid.inside`.
        image: which image of the sample, from 0.
        sample: the only sample to mark; every one by default.

    Raises:
        PromptError: a number of image tokens that the grids do not explain, an image or sample that is not there, or a
            bad box.

    Example:
        >>> ids = torch.tensor([[1, 9, 9, 9, 9, 5]])
        >>> region(ids, 9, Grid(2, 2), (0, 0, 1, 0.5)).long().tolist()
        [[0, 1, 1, 0, 0, 0]]
    """
    ids = input_ids if input_ids.dim() == 2 else input_ids.unsqueeze(0)
    if sample is not None and not 0 <= sample < len(ids):
        raise PromptError(f"there is no sample {sample}: the batch has {len(ids)}, counted from 0.")
    member = torch.zeros_like(ids, dtype=torch.bool)
    for number in range(len(ids)) if sample is None else [sample]:
        positions = (ids[number] == image_token_id).nonzero().flatten()
        layout = _layout(grids, len(positions), number)
        if not 0 <= image < len(layout):
            raise PromptError(f"sample {number} has no image {image}: it has {len(layout)}, counted from 0.")
        start = sum(grid.tokens for grid in layout[:image])
        inside = layout[image].inside(box, size, least).to(positions.device)
        member[number, positions[start : start + len(inside)][inside]] = True
    return member


def center_crop(box: Box, size: Size) -> Box:
    """A box in pixels of the original image, as fractions of its central square.

    CLIP-like processors scale the shorter side and cut the centre out, so the model never sees the ends of a long
    image.

    Args:
        box: left, top, right, bottom in pixels; parts outside the square are cut off.
        size: height and width of the original image.

    Example:
        >>> center_crop((50, 0, 100, 50), size=(100, 200))
        (0.0, 0.0, 0.5, 0.5)
    """
    left, top, right, bottom = _fractions(box, size)
    height, width = size
    side = min(height, width)
    x, y = (width - side) / 2, (height - side) / 2
    ends = (
        (left * width - x) / side,
        (top * height - y) / side,
        (right * width - x) / side,
        (bottom * height - y) / side,
    )
    low_x, low_y, high_x, high_y = (min(1.0, max(0.0, end)) for end in ends)
    if low_x >= high_x or low_y >= high_y:
        raise PromptError(
            f"the box {box} lies outside the central square of {side} pixels, which is all that the model sees."
        )
    return low_x, low_y, high_x, high_y


def _fractions(box: Box, size: Size | None) -> Box:
    if len(box) != 4:
        raise PromptError(f"a box is (left, top, right, bottom), found {box!r}.")
    height, width = size or (1, 1)
    left, top, right, bottom = box[0] / width, box[1] / height, box[2] / width, box[3] / height
    if not (left < right and top < bottom):
        raise PromptError(f"the box {box} is empty: it needs left < right and top < bottom.")
    if not (left >= 0 and right <= 1 and top >= 0 and bottom <= 1):
        hint = (
            f"a {height} x {width} image (height x width)"
            if size
            else "the unit square; pass size=(height, width) for pixels"
        )
        raise PromptError(f"the box {box} reaches outside {hint}.")
    return left, top, right, bottom


def _cover(low: float, high: float, cells: int) -> Tensor:
    """Share of each of ``cells`` equal parts of [0, 1] that [low, high] covers, float64 ``[cells]``; rounding errors "
    "count as none."""
    edges = torch.arange(cells + 1, dtype=torch.float64)
    shares = (edges[1:].clamp(max=high * cells) - edges[:-1].clamp(min=low * cells)).clamp(min=0)
    return torch.where(shares < 1e-9, 0.0, shares)


def _layout(grids: Grid | Sequence[Grid], tokens: int, sample: int) -> Sequence[Grid]:
    if isinstance(grids, Grid):
        images, rest = divmod(tokens, grids.tokens)
        layout: Sequence[Grid] = [grids] * images
        wanted = f"a multiple of {grids.tokens}"
    else:
        layout, rest = grids, tokens - sum(grid.tokens for grid in grids)
        wanted = str(sum(grid.tokens for grid in grids))
    if rest or not tokens:
        raise PromptError(
            f"sample {sample} has {tokens} image tokens, but the grid(s) {grids} need {wanted}: check image_token_id, "
            "rows and cols (height first), merge, before (class token) and row_end."
        )
    return layout
