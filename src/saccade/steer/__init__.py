"""Steering language models at inference, one paper a file."""

from .juice import JUICE
from .pasta import PASTA
from .split_softmax import SplitSoftmax
from .target_share import TargetShare
from .zero_tuning import Profile, Tuned, ZeroTuning


def methods() -> tuple[type, ...]:
    """Every steering method.

    Example:
        >>> [method.__name__ for method in methods()]
        ['JUICE', 'PASTA', 'SplitSoftmax', 'TargetShare', 'ZeroTuning']
    """
    return (JUICE, PASTA, SplitSoftmax, TargetShare, ZeroTuning)


__all__ = ["JUICE", "PASTA", "Profile", "SplitSoftmax", "TargetShare", "Tuned", "ZeroTuning", "methods"]
