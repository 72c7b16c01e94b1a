"""Comparisons whose failures say what differs, where, and by how much."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """|actual − expected| ≤ tolerance · max(1, max|expected|) everywhere, and both finite."""
    assert actual.shape == expected.shape, f"{what}: shapes {list(actual.shape)} and {list(expected.shape)}"
    assert actual.isfinite().all(), f"{what}: not finite in {int((~actual.isfinite()).sum())} places"
    assert expected.isfinite().all(), f"{what}: what it is compared with is not finite"
    error = largest_error(actual, expected)
    bound = tolerance * max(1.0, expected.abs().max().item() if expected.numel() else 0.0)
    assert error <= bound, f"{what}: differs by {error:.3g}, at most {bound:.3g} was allowed"


def largest_error(actual: Tensor, expected: Tensor) -> float:
    """max|actual − expected| in float64; 0 for empty tensors."""
    difference = (actual.to(torch.float64) - expected.to(torch.float64)).abs()
    return difference.max().item() if difference.numel() else 0.0
