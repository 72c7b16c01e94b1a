"""``saccade bench``: mechanisms side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import console, errors, print_json, progress

WHAT = ("mechanisms",)


def bench(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="What to compare: mechanisms.")] = "mechanisms",
    size: Annotated[str, typer.Option(help="quick (does it run), small (2 layers), full (2 and 4 layers).")] = "small",
    only: Annotated[list[str] | None, typer.Option(help="A mechanism; may be given several times.")] = None,
    learning: Annotated[bool, typer.Option(help="Train and measure hosts.")] = True,
    costs: Annotated[bool, typer.Option(help="Time layers by length; wants a quiet machine.")] = True,
    processes: Annotated[int, typer.Option(min=1, help="Trainings side by side.")] = os.cpu_count() or 1,
    folder: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("bench-results"),
    json: options.Json = False,
) -> None:
    """Train every mechanism in the same host on five problems, and measure what a layer of it costs.

    Results are kept as they come: run it again to go on. What has a result of the present code is not run again.

    [dim]saccade bench mechanisms --size quick --only lightning --only softmax[/]
    """
    from saccade.bench.cost import LENGTHS
    from saccade.bench.learn import SETTINGS
    from saccade.bench.problems import BenchError
    from saccade.bench.run import chosen, load, measure_costs, missing, path, run

    if what not in WHAT or size not in SETTINGS:
        raise BenchError(f"what is compared is {WHAT[0]}, at sizes {', '.join(SETTINGS)}; found {what!r}, {size!r}.")
    setting, mechanisms = SETTINGS[size], chosen(only or ())
    jobs = missing(mechanisms, setting, folder) if learning else []
    with progress("learning", total=len(jobs)) as bar:
        for job in run(jobs, setting, folder, processes) if jobs else ():
            bar.update(bar.task_ids[0], advance=1, description=f"{job.mechanism} {job.key}")
    if costs:
        lengths = LENGTHS[:2] if size == "quick" else LENGTHS
        with progress("costs", total=len(mechanisms)) as bar:
            for name in measure_costs(mechanisms, setting, folder, lengths, os.cpu_count() or 1):
                bar.update(bar.task_ids[0], advance=1, description=name)
    found = {name: load(path(folder, setting, name)) for name in mechanisms}
    if json:
        print_json(found)
        return
    show(found, setting.layers)
    errors().print(f"saved in {folder}", highlight=False)


def show(found: dict[str, dict[str, Any]], layers: tuple[int, ...]) -> None:
    """A table of what was learned for each number of layers, and one of costs."""
    from rich.table import Table

    from saccade.bench.table import COSTS, LEARNED, costs, learned

    tables = [(LEARNED, f"{n} layers", [learned(name, one, n) for name, one in found.items()]) for n in layers]
    for columns, title, rows in (*tables, (COSTS, "costs of a layer", [costs(*each) for each in found.items()])):
        table = Table(*columns, title=title, header_style="bold")
        for row in rows:
            table.add_row(*row)
        console().print(table)
