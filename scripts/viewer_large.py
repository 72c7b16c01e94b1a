"""Write the table of docs/viewer.md: how fast pages of large models open, scroll and answer in Chromium.

python scripts/viewer_large.py      # on a quiet machine; cd viewer && npm install first
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from saccade.viewer import Capture, page

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "viewer.md"
BEGIN, END = "<!-- large: begin -->", "<!-- large: end -->"
HEADS, SIDE, ROWS = 32, 64, 4096
LENGTHS = (4096, 100_000)


def capture(length: int) -> Capture:
    """32 layers of 32 heads with a pooled map each, and for the tokens what they receive, of random numbers."""
    rng = np.random.default_rng(0)
    sites = tuple((f"text.{i}.self", i) for i in range(HEADS))
    return Capture(
        "large",
        tuple(f"w{i}" for i in range(length)),
        {"rule": [1, 2]},
        sites,
        {"entropy": rng.random((HEADS, HEADS)).astype(np.float32)},
        rng.integers(0, 256, (HEADS, HEADS, SIDE, SIDE), dtype=np.uint8),
        np.ones((HEADS, HEADS), np.float32),
        rng.integers(0, 65535, (HEADS, HEADS, min(length, ROWS)), dtype=np.uint16),
        np.zeros((HEADS, HEADS, length, 0), np.uint16),
        np.zeros((HEADS, HEADS, length, 0), np.uint16),
    )


def table() -> str:
    """A row for each length."""
    rows = [
        "| heads | tokens | page | opens in | a click on a head | scrolling: a frame | the slowest |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{length}.html" for length in LENGTHS]
        for file, length in zip(files, LENGTHS, strict=True):
            file.write_text(page(capture(length)), "utf-8")
        command = ["node", str(ROOT / "viewer" / "browser" / "large.mjs"), *map(str, files)]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        for file, length, line in zip(files, LENGTHS, found, strict=True):
            one = json.loads(line)
            rows.append(
                f"| {HEADS} × {HEADS} | {length:,} | {file.stat().st_size / 1e6:.1f} MB | {one['opened'] / 1e3:.1f} s "
                f"| {one['click']:.0f} ms | {one['scroll']:.0f} ms | {one['slowest']:.0f} ms |"
            )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}{END}{rest.split(END)[1]}", "utf-8")
