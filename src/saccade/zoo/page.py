"""What `docs/zoo.md` says of the shipped models, made from their cards; `python -m saccade.zoo page` prints it."""

from __future__ import annotations

import json
import re

from saccade.zoo.store import MODELS, names

COLUMNS = ("parameters", "tokens", "minutes of wall clock", "seed")


def summary() -> str:
    """One row a model: its size, what it was trained on, how long, and its seed."""
    lines = [f"| model | {' | '.join(COLUMNS)} |", "|---|" + "---:|" * len(COLUMNS)]
    for name in names():
        facts = json.loads((MODELS / name / "measured.json").read_text(encoding="utf-8"))
        lines.append(f"| `{name}` | {' | '.join(f'{facts[c]:,}' for c in COLUMNS)} |")
    return "\n".join(lines)


def card(name: str) -> str:
    """The card of a shipped model with its headings one level lower and its picture found from the docs."""
    text = (MODELS / name / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2].strip()
    text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
    text = re.sub(r"^(### .*)$", rf"\1: {name}", text, flags=re.MULTILINE)
    return text.replace("](loss.png)", f"](../src/saccade/zoo/models/{name}/loss.png)")


def page() -> str:
    """Summary and cards of all shipped models."""
    return "\n\n".join(["## The models", summary(), *map(card, names())]) + "\n"
