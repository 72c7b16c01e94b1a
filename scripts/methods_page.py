"""Write the table of docs/methods.md: every method of the wings that see and steer, from its class."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
WINGS = {
    "steer": "steering",
    "heads": "searches for heads, and taking them out",
    "detect": "detectors",
    "decode": "decoding",
    "order": "order of documents",
}


def page() -> str:
    """The page as it is, with the table that the code gives."""
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}{END}{rest.split(END)[1]}"


def table() -> str:
    """A row for each method of steering, and for each class of the other wings that names the paper it is from."""
    rows = ["| method | what it does | paper |", "|---|---|---|"]
    for wing, what in WINGS.items():
        rows.append(f"| **`saccade.{wing}`** | **{what}** | |")
        for kind in classes(wing):
            papers = ", ".join(f"[{number}]" for number in named(kind))
            rows.append(f"| `{kind.__name__}` | {summary(kind)} | {papers} |")
    return "\n".join(rows) + "\n"


def classes(wing: str) -> list[type]:
    """The methods of a wing, by name."""
    module = import_module(f"saccade.{wing}")
    if hasattr(module, "methods"):
        return sorted(module.methods(), key=lambda kind: kind.__name__)
    exported = [getattr(module, name) for name in sorted(module.__all__)]
    return [kind for kind in exported if inspect.isclass(kind) and named(kind)]


def named(kind: type) -> list[int]:
    """Numbers of the papers that a class says it is from, or else its module."""
    for text in (inspect.getdoc(kind) or "", sys.modules[kind.__module__].__doc__ or ""):
        found = re.findall(r"paper (\d+)|(?<=\s)\[(\d+)\]", text.split("Example:")[0])
        if found:
            return sorted({int(one or other) for one, other in found})
    return []


def summary(kind: type) -> str:
    """The first sentence of a docstring, in Markdown."""
    first = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?([^`]+)`", r"`\1`", first).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
