"""Conversions that keep what a model has learned."""

from .grouped import fold_groups, group_heads

__all__ = ["fold_groups", "group_heads"]
