"""The table of what works: computed, committed as ``support.json``, and shown in ``docs/hosts.md``.

``python -m tests.hosts.table`` prints it; with ``--write`` it also renews the two files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import transformers

from .architectures import CASES, build
from .properties import PROPERTIES

HERE = Path(__file__).parent
COMMITTED = HERE / "support.json"
DOCS = HERE.parents[1] / "docs" / "hosts.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

Row = dict[str, str]


def row(name: str) -> Row:
    """What works on one architecture: ``ok``, ``n.a.: reason`` or ``fails: message``, by property."""
    found: Row = {}
    for title, check in PROPERTIES.items():
        reason = CASES[name].without(title)
        if reason is not None:
            found[title] = f"n.a.: {reason}"
            continue
        try:
            check(build(name))
            found[title] = "ok"
        except Exception as error:
            found[title] = f"fails: {type(error).__name__}: {error}"
    return found


def committed() -> dict[str, Row]:
    """The table as it was last agreed on."""
    return json.loads(COMMITTED.read_text())


def markdown(table: Mapping[str, Row]) -> str:
    """The table for people; reasons stand below it."""
    reasons = list(dict.fromkeys(cell for cells in table.values() for cell in cells.values() if cell != "ok"))
    marks = {"ok": "ok"} | {cell: f"{cell.split(':')[0]} ({number})" for number, cell in enumerate(reasons, 1)}
    lines = [_line(["architecture", *PROPERTIES]), _line(["---"] * (len(PROPERTIES) + 1))]
    lines += [_line([name, *(marks[cells[title]] for title in PROPERTIES)]) for name, cells in table.items()]
    notes = [f"{number}. {cell.split(': ', 1)[1]}" for number, cell in enumerate(reasons, 1)]
    return "\n".join([*lines, "", *notes])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    transformers.logging.set_verbosity_error()
    table = {name: row(name) for name in CASES}
    print(markdown(table))
    if "--write" in sys.argv:
        COMMITTED.write_text(json.dumps(table, indent=1) + "\n")
        before, rest = DOCS.read_text().split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n\n{markdown(table)}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
