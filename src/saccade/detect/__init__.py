"""Detectors that read attention, in scikit-learn's manners: ``fit``, ``decision_function``, ``predict``."""

from .errors import DetectError
from .lookback import LookbackLens
from .tracker import AttentionTracker

__all__ = ["AttentionTracker", "DetectError", "LookbackLens"]
