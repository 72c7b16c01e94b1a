"""``saccade plan``: what seeing and steering would cost, and why, without running or even loading the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from saccade.core.errors import MeasureError

from . import methods, models, options
from .output import console, print_json

if TYPE_CHECKING:
    from saccade.core.edits import Edit, Recipe
    from saccade.core.measures import Measure
    from saccade.hosts.plan import ModelPlan

MEASURES = ("mass", "entropy", "logsumexp", "distance", "received", "topk", "pooled")


def plan(
    model: options.Model,
    length: Annotated[int, typer.Option(min=2, help="Tokens of the prompt.")] = 4096,
    span_count: Annotated[int, typer.Option(min=1, help="Number of disjoint spans; the first is edited.")] = 1,
    edit: Annotated[
        list[str] | None, typer.Option(help=f"none, or one of {', '.join(methods.METHODS)}. Repeatable; scale.")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help=f"none, or one of {', '.join(MEASURES)}. Repeatable; mass.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Explain which engine each site would take, at what estimated cost, and why. Needs the model's config only.

    [dim]saccade plan minilm --length 512 --span-count 4 --measure mass --measure entropy[/dim]
    """
    spans = tuple(f"span.{index}" for index in range(span_count))
    edits = [_edit(name, spans[0]) for name in _named(edit or ["scale"])]
    measures = [_measure(name, spans) for name in _named(measure or ["mass"])]
    planned = models.outline(model).plan(edits=edits, measures=measures, length=length)
    if json:
        print_json({"model": model, **as_dict(planned)})
    else:
        console().print(f"{model}, estimated: {planned}", highlight=False, markup=False, soft_wrap=True)


def as_dict(planned: ModelPlan) -> dict[str, Any]:
    """A plan as JSON values."""
    return {
        "length": planned.length,
        "ratio": planned.ratio,
        "sites": [
            {
                "site": name,
                "engine": planned[name].engine,
                "lowering": planned[name].lowering,
                "ratio": planned[name].ratio,
                "flops": planned[name].flops,
                "bytes": planned[name].bytes,
                "steps": [vars(step) for step in planned[name].steps],
            }
            for name in planned
        ],
    }


def _named(names: list[str]) -> list[str]:
    return [name for name in names if name != "none"]


def _edit(name: str, span: str) -> Edit | Recipe:
    method = methods.method(name, "--edit")
    return method.make(span, method.strength, None)


def _measure(name: str, spans: tuple[str, ...]) -> Measure:
    import saccade as sc

    kinds: dict[str, Measure] = {
        "mass": sc.Mass(spans),
        "entropy": sc.Entropy(),
        "logsumexp": sc.LogSumExp(),
        "distance": sc.Distance(),
        "received": sc.Received(),
        "topk": sc.TopK(),
        "pooled": sc.Pooled(),
    }
    if name not in kinds:
        raise MeasureError(f"--measure is none, {', '.join(MEASURES)}; found {name!r}.")
    return kinds[name]
