"""Characters of the Python standard library's own source: text that every machine has."""

from __future__ import annotations

import random
import sysconfig
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SYMBOLS = 128
"""ASCII."""


@cache
def source(held: bool) -> Tensor:
    """Characters of the library's modules, as numbers below ``SYMBOLS``; one module in five is held out."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = sorted(path for path in folder.glob("*.py") if path.stat().st_size < 40_000)
    random.Random("399").shuffle(names)
    chosen = [path for i, path in enumerate(names) if (i % 5 == 0) == held]
    text = "\n".join(path.read_text("utf-8") for path in chosen)
    return torch.tensor(list(text.encode("ascii", "ignore")))


def pieces(generator: torch.Generator, rows: int, length: int, held: bool = False) -> Tensor:
    """Pieces at random places, [rows, length]."""
    text = source(held)
    start = torch.randint(len(text) - length + 1, (rows, 1), generator=generator)
    return text[start + torch.arange(length)]
