"""`python -m saccade.zoo list | train NAME | card NAME | page`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from saccade.zoo.card import publish, write_card
from saccade.zoo.coder import Coder
from saccade.zoo.copier import Copier
from saccade.zoo.page import page
from saccade.zoo.reader import Reader, ReaderBase
from saccade.zoo.recipe import Recipe
from saccade.zoo.store import names
from saccade.zoo.training import Run

RECIPES: dict[str, Callable[[], Recipe]] = {
    "reader-base": ReaderBase,
    "reader": Reader,
    "copier": Copier,
    "coder": Coder,
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m saccade.zoo", description="Train and describe the models of the zoo."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="names of the shipped models and of the recipes")
    train = actions.add_parser("train", help="train a recipe, or go on with a run that was stopped")
    train.add_argument("name", choices=sorted(RECIPES))
    train.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    train.add_argument("--minutes", type=float, help="stop after so many minutes; the same command goes on from there")
    train.add_argument("--folder", type=Path, help="where the run is kept (default: zoo-runs/NAME)")
    card = actions.add_parser("card", help="measure a finished run and write its card")
    card.add_argument("name", choices=sorted(RECIPES))
    card.add_argument("--folder", type=Path)
    card.add_argument("--publish", action="store_true", help="also copy the model into the package")
    actions.add_parser("page", help="the cards of the shipped models, as docs/zoo.md shows them")
    args = parser.parse_args()
    console = Console()
    if args.action == "list":
        console.print(f"shipped: {', '.join(names()) or 'none'}\nrecipes: {', '.join(sorted(RECIPES))}")
        return
    if args.action == "page":
        sys.stdout.write(page())
        return
    folder = args.folder or Path("zoo-runs") / args.name
    recipe = RECIPES[args.name]()
    if args.action == "train" and not Run(recipe, folder, args.device).train(args.minutes):
        console.print(f"stopped after {args.minutes} minutes; the same command goes on from {folder}")
        return
    write_card(recipe, folder)
    if args.action == "card" and args.publish:
        console.print(f"published to {publish(recipe, folder)}")


main()
