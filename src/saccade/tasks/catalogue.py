"""A page of Markdown about all tasks, each with an example; `python -m saccade.tasks.catalogue` writes it."""

from __future__ import annotations

import inspect
import re
import sys

from saccade import tasks
from saccade.tasks.example import Example

LINE = 110


def entry(name: str) -> str:
    """Title, papers, description, baselines and one example of a task."""
    task = tasks.get(name, difficulty=1)
    example = task.example(0)
    about = " ".join(inspect.getdoc(type(task)).replace("\n\n", "\n").split())  # type: ignore[union-attr]
    spans = ", ".join(f"`{s}`" for s in example.spans)
    return (
        f"### `{name}`\n\n{about}\n\n"
        f"Chance at this difficulty: {task.chance:.2g}. Spans here: {spans}.\n\n```text\n{show(example)}\n```\n"
    )


def show(example: Example) -> str:
    """The prompt and its answer, long prompts shortened in the middle."""
    lines = [f"{m['role']}: {m['content']}" for m in example.messages] if example.is_chat else [example.contents[0]]
    lines = [t if len(t) <= 4 * LINE else f"{t[: 2 * LINE]} [...] {t[-LINE:]}" for t in lines]
    wrapped = [re.sub(rf"(.{{1,{LINE}}})(?: |$)", r"\1\n", t).rstrip() for t in lines]
    return "\n".join([*wrapped, f"-> {example.answer}".replace("\n", "\n   ")])


def catalogue() -> str:
    """All tasks, the world's first."""
    parts = ["## Tasks of the world\n", *map(entry, tasks.names("world/"))]
    return "\n".join([*parts, "## Algorithmic tasks\n", *map(entry, tasks.names("algorithmic/"))])


if __name__ == "__main__":
    sys.stdout.write(catalogue())
