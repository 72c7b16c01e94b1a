"""Heads: sets of them, what each is worth, and taking them out."""

from .ablation import HeadScaling, ZeroAblation
from .fingerprint import Fingerprint, fingerprint
from .headset import Head, HeadError, HeadSet
from .scan import importance, scan
from .scoring import accuracy, certainty, likelihood

__all__ = [
    "Fingerprint",
    "Head",
    "HeadError",
    "HeadScaling",
    "HeadSet",
    "ZeroAblation",
    "accuracy",
    "certainty",
    "fingerprint",
    "importance",
    "likelihood",
    "scan",
]
