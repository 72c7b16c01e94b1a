"""Turn results into docs/benchmarks.md and a section of README.md: ``python -m benchmarks.render``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .__main__ import CASES, RESULTS
from .cases.model import PLAIN
from .harness import ROOT

BEGIN, END = "<!-- begin: speed -->", "<!-- end: speed -->"
METHOD = """\
# Benchmarks

What Saccade costs beside the same work without it. `make bench` measures all of this anew; every figure below comes
from the files in `benchmarks/results`, and none is typed by hand.

How it is measured:

- **Time** is a ratio taken in one run: the thing and its baseline run in turn, A B A B ..., and the table shows the
  median of the pairwise ratios with the least and the largest. Everything runs once before, untimed. CPU, float32
  unless said otherwise, no gradients.
- **Memory** is what one run adds to the resident memory of a fresh process at its peak: *extra* beyond libraries,
  weights and inputs, *peak* beyond libraries alone. Beside it stands the ratio to the baseline's. While it is
  measured, every tensor has pages of its own, so that the fragmentation of the heap does not count.
- **Peers** that need other versions run in environments of their own (`python -m benchmarks.envs` installs them). Where
  two ways are asked the same question, their answers are compared, and the largest difference stands beside them.
- A bar is what was promised before it was measured; where it is missed, the table says so.
"""


def load(folder: Path) -> list[dict[str, Any]]:
    """The results there are, in the order of the cases."""
    files = (folder / f"{name}.json" for name in CASES)
    return [json.loads(file.read_text()) for file in files if file.exists()]


def page(results: Sequence[dict[str, Any]]) -> str:
    """The whole page."""
    parts = [METHOD]
    if not results:
        parts.append("Nothing has been recorded yet.\n")
    for result in results:
        parts.append(f"## {result['title']}\n\n{_where(result)}\n")
        for group in dict.fromkeys(row["group"] for row in result["rows"]):
            rows = [row for row in result["rows"] if row["group"] == group]
            parts.append(f"### {group[0].upper()}{group[1:]}\n\n{table(rows)}\n")
            notes = dict.fromkeys(f"- {row['name']}: {row['note']}." for row in rows if row["note"])
            parts.extend(["\n".join(notes) + "\n"] if notes else [])
        if result["missing"]:
            parts.append(f"Not measured, because not installed: {', '.join(result['missing'])}.\n")
    return "\n".join(parts)


def summary(results: Sequence[dict[str, Any]]) -> str:
    """The promised figures, and the same question asked with other tools, for the README."""
    rows = [
        {**row, "name": f"{row['name']} ({row['group']})" if row["group"] not in row["name"] else row["name"]}
        for result in results
        for row in result["rows"]
        if _bars(row) or (result["case"] == "model" and row["against"] == PLAIN)
    ]
    return table(rows) if rows else "Nothing has been recorded yet."


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of rows; columns that no row fills are left out."""
    unit = rows[0]["unit"]
    columns = {
        "": [row["name"] for row in rows],
        "against": [row["against"] for row in rows],
        "time": [f"{row['ratio']:.2f}× ({row['low']:.2f} to {row['high']:.2f})" for row in rows],
        f"per {unit}": [_seconds(row["seconds"]) for row in rows],
        "extra memory": [_extra(row) for row in rows],
        "peak memory": [_peak(row) for row in rows],
        "promised": ["; ".join(f"{bar}: {_held(value, most)}" for bar, value, most in _bars(row)) for row in rows],
        "answer differs by": ["" if row["difference"] is None else f"{row['difference']:.0e}" for row in rows],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    return "\n".join([_line(columns), _line("---" for _ in columns), *map(_line, zip(*columns.values(), strict=True))])


def insert(readme: str, section: str) -> str:
    """``readme`` with ``section`` between its marks."""
    if BEGIN not in readme or END not in readme:
        raise SystemExit(f"README.md has no section between {BEGIN} and {END}; put the two marks where it belongs.")
    head, rest = readme.split(BEGIN, 1)
    return f"{head}{BEGIN}\n{section}\n{END}{rest.split(END, 1)[1]}"


def _where(result: dict[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    size = ", ".join(f"{name} {value}" for name, value in result["size"].items())
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{size}. {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; "
        f"{result['threads']} torch threads; {software}; seed {result['seed']}, {result['date']}, "
        f"load {result['load_at_start']} when the run began."
    )


def _bars(row: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What was promised of a row: (in words, found, at most)."""
    found: list[tuple[str, float, float]] = []
    if row["bar"] is not None:
        found.append((f"time ≤ {row['bar']:g}×", row["ratio"], row["bar"]))
    if row["memory_bar"] is not None:
        found.append((f"peak ≤ {row['memory_bar']:g}×", _ratio(row, "libraries"), row["memory_bar"]))
    if row["extra_bar"] is not None:
        found.append((f"extra ≤ {_bytes(row['extra_bar'])}", _added(row["memory"], "before"), row["extra_bar"]))
    return found


def _held(value: float, most: float) -> str:
    return "held" if value <= most else f"missed by {100 * (value / most - 1):.0f} %"


def _added(memory: dict[str, int], since: str) -> int:
    return memory["peak"] - memory[since]


def _ratio(row: dict[str, Any], since: str) -> float:
    return _added(row["memory"], since) / max(1, _added(row["against_memory"], since))


def _extra(row: dict[str, Any]) -> str:
    if row["memory"] is None:
        return ""
    return f"{_bytes(_added(row['memory'], 'before'))} ({_ratio(row, 'before'):.2f}×)"


def _peak(row: dict[str, Any]) -> str:
    if row["memory"] is None:
        return ""
    return f"{_bytes(_added(row['memory'], 'libraries'))} ({_ratio(row, 'libraries'):.2f}×)"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks.md", help="the page to write")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="the file with the marked section")
    asked = parser.parse_args()
    results = load(asked.results)
    if any(result["quick"] for result in results):
        parser.error("these are results of a --quick run, which measure nothing; run python -m benchmarks without it.")
    asked.docs.write_text(page(results))
    asked.readme.write_text(insert(asked.readme.read_text(), summary(results)))


if __name__ == "__main__":
    main()
