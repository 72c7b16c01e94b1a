"""What the methods of this wing have in common: the span, and numbers in a range."""

from __future__ import annotations

import math

from torch import Tensor

from saccade.core.errors import EditError

SpanNames = str | tuple[str, ...]


def names_of(method: str, span: SpanNames) -> tuple[str, ...]:
    """The span names that a method was given."""
    names = (span,) if isinstance(span, str) else span
    if not isinstance(names, tuple) or not names or not all(isinstance(name, str) and name for name in names):
        raise EditError(f"{method} needs the name of a span, or a tuple of names, found {span!r}.")
    return tuple(dict.fromkeys(names))


def number(method: str, name: str, value: object, low: float, high: float, meaning: str) -> None:
    """Raise unless ``low < value < high``; ``meaning`` says what the value does."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (good and low < value < high):  # type: ignore[operator]
        bound = f"in ({low:g}, {high:g})" if math.isfinite(high) else f"a number greater than {low:g}"
        raise EditError(f"{method}: {name} must be {bound}, found {value!r}; {meaning}.")


def in_proportion(mass: Tensor, total: Tensor) -> Tensor:
    """Masses ``[..., S]`` that add up to ``total`` ``[..., 1]``, in the proportions of ``mass``."""
    whole = mass.sum(dim=-1, keepdim=True)
    share = mass / whole.clamp_min(1e-30)
    return (share if mass.shape[-1] > 1 else mass.new_ones(())) * total
