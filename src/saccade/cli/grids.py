"""A reading of attention in the terminal: a strip of tokens, and a grid of layers by heads for each quantity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from .output import level, shade

if TYPE_CHECKING:
    from .see import HeadReading, Reading

MEAN = 7
WHOLE = "prompt"


def show(console: Console, model: str, reading: Reading) -> None:
    """Print a reading."""
    heads = sum(len(one.heads) for one in reading.sites)
    console.print(
        f"[bold]{model}[/]  {len(reading.tokens)} tokens, {len(reading.sites)} sites, {heads} heads; "
        f"mean over the query rows: {reading.rows}",
        highlight=False,
    )
    console.print(f"\n[bold]attention received by each token[/] at {reading.strip_site}", highlight=False)
    console.print(Padding(strip(reading.tokens, reading.strip, console.color_system is not None), (0, 2)))
    for name in reading.sites[0].heads[0].mass:
        if name != WHOLE:
            _grid(console, reading, f"mass on {name}, %", partial(_percent, name), 100.0)
    _grid(console, reading, "entropy, nats", lambda one: one.entropy)
    _grid(console, reading, "distance looked back, tokens", lambda one: one.distance)


def strip(tokens: tuple[str, ...], weights: tuple[float, ...], colour: bool) -> Text:
    """Tokens, each as dark as the attention that it receives; without colour each is followed by a bar.

    Example:
        >>> strip(("a", "b"), (0.2, 0.8), colour=False).plain
        'a▂ b█ '
    """
    top = max(weights) or 1.0
    text = Text()
    for token, weight in zip(tokens, weights, strict=True):
        word = token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "↵").strip() or "·"
        if colour:
            text.append(f" {word} ", shade(weight / top))
        else:
            text.append(f"{word}{level(weight / top)} ")
    return text


def _grid(
    console: Console,
    reading: Reading,
    title: str,
    value: Callable[[HeadReading], float],
    top: float | None = None,
) -> None:
    console.print(f"\n[bold]{title}[/]", highlight=False)
    values = [[value(one) for one in site.heads] for site in reading.sites]
    high = top or max(max(abs(x) for x in row) for row in values) or 1.0
    cells = [[*map(_short, row)] for row in values]
    heads = max(([one.head for one in site.heads] for site in reading.sites), key=len)
    cell = 1 + max(len(text) for row in [*cells, [str(max(heads))]] for text in row)
    label = max(len(site.site) for site in reading.sites)
    block = max(1, (console.width - label - MEAN) // cell)
    for start in range(0, len(heads), block):
        numbers = "".join(f"{head:>{cell}}" for head in heads[start : start + block])
        console.print(Text(f"{'head':<{label}}{numbers}{'mean':>{MEAN}}", "dim"), soft_wrap=True)
        for site, row, texts in zip(reading.sites, values, cells, strict=True):
            line = Text(f"{site.site:<{label}}")
            for x, text in zip(row[start : start + block], texts[start : start + block], strict=True):
                line.append(f"{text:>{cell}}", shade(abs(x) / high))
            line.append(f"{_short(sum(row) / len(row)):>{MEAN}}")
            console.print(line, soft_wrap=True)


def _percent(name: str, one: HeadReading) -> float:
    return 100 * one.mass[name]


def _short(x: float) -> str:
    return f"{x:.0f}" if abs(x) >= 9.95 else f"{x:.1f}"
