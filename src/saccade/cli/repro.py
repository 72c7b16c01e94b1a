"""``saccade repro``: run executable claims."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .output import console, errors, print_json, progress
from .papers import Folder

if TYPE_CHECKING:
    from saccade.repro.record import Record


def repro(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Numbers of papers.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every claim that there is.")] = False,
    quick: Annotated[bool, typer.Option(help="The small form of each claim, under a minute on one core.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Run with seeds 0 to N - 1 and pool what they measure.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Claims that run side by side, each on one core.")] = 1,
    folder: Folder = Path("repro-results"),
    json: options.Json = False,
) -> None:
    """Run the claims of papers and save what they give.

    A claim holds when the whole 95% bootstrap interval of its effect reaches the bar, and so do its controls. One that
    does not hold is a result like any other: the exit code is 0 when every claim ran.

    [dim]saccade repro 132 --quick[/]
    [dim]saccade repro --all --quick --jobs 2[/]
    """
    from saccade.repro import ClaimError, claimed, find
    from saccade.repro.runner import run_all

    if every == bool(numbers):
        raise ClaimError(f"name papers, or give --all; those with a claim are {', '.join(map(str, claimed()))}.")
    chosen = list(claimed()) if every else list(dict.fromkeys(numbers or ()))
    claims = [find(number) for number in chosen]
    records = []
    with progress("claims", total=len(chosen)) as bar:
        for record in run_all([claim.id for claim in claims], quick, range(seeds), jobs):
            records.append(record)
            record.save(folder)
            bar.update(bar.task_ids[0], advance=1, description=f"[{record.id}] {record.claim[:60]}")
    records.sort(key=lambda record: record.id)
    if json:
        print_json([asdict(record) for record in records])
    else:
        show(records)
        errors().print(f"saved in {folder}", highlight=False)


def show(records: list[Record]) -> None:
    """A table, a row for each comparison; controls stand below the comparison that the claim is about."""
    from rich.table import Table

    table = Table("id", "metric", "baseline", "method", "effect", "95% interval", "bar", "holds", header_style="bold")
    for record in records:
        main = {name: getattr(record, name) for name in ("metric", "baseline", "method", "effect", "interval", "bar")}
        first = {**main, "holds": record.interval[0] >= record.bar}
        for number, one in zip([str(record.id), *[""] * len(record.also)], [first, *record.also], strict=True):
            low, high = one["interval"]
            numbers = (f"{one['baseline']:.3g}", f"{one['method']:.3g}", f"{one['effect']:.3g}")
            verdict = "[green]yes[/]" if one["holds"] else "[red]no[/]"
            table.add_row(number, one["metric"], *numbers, f"{low:.3g} to {high:.3g}", f"{one['bar']:g}", verdict)
    out = console()
    out.print(table)
    held = sum(record.holds for record in records)
    seconds = sum(record.seconds for record in records)
    out.print(f"{held} of {len(records)} claims hold; {seconds:.0f} s.", highlight=False)
