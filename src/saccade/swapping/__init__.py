"""Replacing the attention of a Hugging Face model by a mechanism of the library, in place."""

from .load import load_swapped
from .swap import swap

__all__ = ["load_swapped", "swap"]
