"""All commands, registered in one place. A command is a function in a file of its own; heavy imports are inside it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer
from rich.markup import escape

from saccade.core.errors import SaccadeError

from .bench import bench
from .demo import demo
from .eval import eval_
from .heads import heads
from .output import errors
from .papers import papers
from .plan import plan
from .repro import repro
from .see import see
from .serve import serve
from .steer import steer
from .swap import swap

COMMANDS: tuple[Callable[..., None], ...] = (demo, see, steer, swap, heads, plan, papers, repro, bench, eval_, serve)
MISUSE = 2
"""Exit code of a command that was asked for something that cannot be done."""

app = typer.Typer(
    help="See, steer and swap attention in any transformer.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    """See, steer and swap attention in any transformer."""


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, with errors that Saccade raises on purpose as one red message and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except SaccadeError as error:
            errors().print(f"[bold red]error:[/] [red]{escape(str(error))}[/]", soft_wrap=True, highlight=False)
            raise typer.Exit(MISUSE) from error

    return wrapped


for _command in COMMANDS:
    app.command(_command.__name__.removesuffix("_"))(reporting(_command))


def main() -> None:
    """Entry point of the ``saccade`` script."""
    app()
