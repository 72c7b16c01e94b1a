"""Conversions that keep what a model has learned."""

from .grouped import fold_groups, group_heads
from .hedgehog import distil_hedgehog

__all__ = ["distil_hedgehog", "fold_groups", "group_heads"]
