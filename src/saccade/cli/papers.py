"""``saccade papers``: the catalogue, and what its claims gave last."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .output import console, print_json

if TYPE_CHECKING:
    from saccade.repro import Paper
    from saccade.repro.record import Record

Folder = Annotated[Path, typer.Option(metavar="DIR", help="Folder of saved results.")]
STYLES = {"works": "[green]", "partial": "[yellow]", "planned": "[default]", "out of scope": "[dim]"}


def papers(
    query: Annotated[str, typer.Argument(metavar="[QUERY]", help="A number, or words of title or claim.")] = "",
    status: Annotated[str | None, typer.Option(help="works, partial, planned, or 'out of scope'.")] = None,
    family: Annotated[str | None, typer.Option(help="A family such as STEER or MECH.lin; or MECH for all.")] = None,
    folder: Folder = Path("repro-results"),
    json: options.Json = False,
) -> None:
    """List the papers of the catalogue: status, claim, where it lives, and the last result of its claim.

    Results are those saved in the folder by [bold]saccade repro[/], or else those published with Saccade. A result is
    stale when the code that it was made with has changed.
    """
    from saccade.repro import papers as catalogue
    from saccade.repro.record import latest

    found = catalogue.search(query, status, family)
    results = latest(folder)
    if json:
        print_json([as_dict(paper, results.get(paper.id)) for paper in found])
    else:
        show(found, results)


def as_dict(paper: Paper, record: Record | None) -> dict[str, Any]:
    """A paper and its last result as JSON values."""
    result = None if record is None else {**asdict(record), "stale": record.stale}
    return {**asdict(paper), "result": result}


def show(found: tuple[Paper, ...], results: dict[int, Record]) -> None:
    """A table; of one paper, all there is."""
    from rich.markup import escape
    from rich.table import Table

    from saccade.repro import papers as catalogue

    out = console()
    if len(found) == 1:
        card(found[0], results.get(found[0].id))
        return
    table = Table("id", "family", "status", "paper and claim", "last result", header_style="bold", pad_edge=False)
    for paper in found:
        record = results.get(paper.id)
        told = f"{escape(paper.title)}\n[dim]{escape(paper.claim)}[/]"
        outcome = "" if record is None else f"{record.effect:.3g} [dim]{record.verdict}[/]"
        status = f"{STYLES[paper.status]}{paper.status}[/]"
        table.add_row(str(paper.id), paper.family, status, told, outcome)
    out.print(table)
    counts = ", ".join(f"{number} {status}" for status, number in catalogue.counts().items())
    out.print(f"{len(found)} of {len(catalogue)} papers. In all: {counts}.", highlight=False)


def card(paper: Paper, record: Record | None) -> None:
    """One paper, line by line."""
    from rich.markup import escape

    lines = [("family", paper.family), ("status", paper.status), ("claim", paper.claim), ("where", paper.where)]
    lines += [("reason", paper.reason), ("note", paper.note)]
    if record is not None:
        low, high = record.interval
        lines += [
            ("claim run", record.claim),
            ("metric", record.metric),
            ("result", f"{record.baseline:.4g} -> {record.method:.4g}"),
            ("effect", f"{record.effect:.4g} [{low:.4g}, {high:.4g}], bar {record.bar:g}: {record.verdict}"),
            ("run", f"{record.time}, {record.seconds:g} s, seeds {', '.join(map(str, record.seeds))}"),
        ]
    out = console()
    out.print(f"[bold]{paper.id}  {escape(paper.title)}[/]", highlight=False)
    for name, value in lines:
        if value:
            out.print(f"[dim]{name:>9}[/]  {escape(value)}", highlight=False)
