"""Resident memory of this process, from the kernel's own account."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of the C library's ``mallopt``."""


def resident() -> int:
    """Bytes resident now, after garbage and free heap pages are given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _field("VmRSS")


def peak_of(call: Callable[[], object]) -> tuple[object, int]:
    """The result of ``call`` and the most bytes that were resident while it ran.

    Meanwhile every tensor has pages of its own, so that the peak does not depend on how the heap is fragmented.
    """
    library = ctypes.CDLL(None)
    library.mallopt(MMAP_THRESHOLD, 2**16)
    CLEAR.write_text(RESET_PEAK)
    result = call()
    peak = _field("VmHWM")
    library.mallopt(MMAP_THRESHOLD, 2**25)
    library.mallopt(TRIM_THRESHOLD, 2**26)
    return result, peak


def _field(name: str) -> int:
    if not sys.platform.startswith("linux"):
        raise SystemExit(f"Peak memory is read from {STATUS}, which only Linux has; found {sys.platform}.")
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
