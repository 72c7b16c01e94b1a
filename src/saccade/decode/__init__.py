"""Decoding driven by attention."""

from .guided import DecodeError, Guided, Judge

__all__ = ["DecodeError", "Guided", "Judge"]
