"""`python -m saccade.zoo train NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path

from saccade.zoo.reader import Reader
from saccade.zoo.training import Run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m saccade.zoo")
    parser.add_argument("action", choices=["train"])
    parser.add_argument("name")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    Run(Reader(), args.folder or Path("runs") / args.name, args.device).train(args.minutes)


main()
