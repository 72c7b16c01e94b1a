"""Resident memory of this process, from the kernel's own account."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def resident() -> int:
    """Bytes resident now, after garbage and free heap pages are given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _field("VmRSS")


def peak_of(call: Callable[[], object]) -> tuple[object, int]:
    """The result of ``call`` and the most bytes that were resident while it ran."""
    CLEAR.write_text(RESET_PEAK)
    result = call()
    return result, _field("VmHWM")


def _field(name: str) -> int:
    if not sys.platform.startswith("linux"):
        raise SystemExit(f"Peak memory is read from {STATUS}, which only Linux has; found {sys.platform}.")
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
