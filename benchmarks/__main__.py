"""Run the benchmarks: ``python -m benchmarks [--quick] [--only CASE ...]``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import time
from pathlib import Path

from .facts import facts
from .harness import ROOT, Bench

CASES = ("engine", "padded", "model", "long", "decode", "see")
RESULTS = ROOT / "benchmarks" / "results"
SEED = 0


def main() -> None:
    """Run the cases that are named, by default all of them, and write one JSON file for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs; no figures")
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="torch threads (default: all cores)")
    parser.add_argument("--no-peers", action="store_true", help="leave out peers that have their own environment")
    parser.add_argument("--out", type=Path, help="folder of the results")
    asked = parser.parse_args()
    out = asked.out or (RESULTS / "quick" if asked.quick else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    about = facts(asked.threads, SEED)
    for name in asked.only:
        case, bench = (
            importlib.import_module(f"benchmarks.cases.{name}"),
            Bench(asked.quick, asked.threads, not asked.no_peers),
        )
        print(f"{name}: {case.TITLE}", flush=True)
        start = time.perf_counter()
        rows = case.run(bench)
        took = round(time.perf_counter() - start, 1)
        result = {
            "case": name,
            "title": case.TITLE,
            "quick": asked.quick,
            "took_seconds": took,
            "size": dataclasses.asdict(case.QUICK if asked.quick else case.Size()),
            **about,
            "missing": bench.missing,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        for row in rows:
            print(f"  {row.group}: {row.name}: {row.ratio:.2f}x ({row.low:.2f} to {row.high:.2f}) {row.against}")
        print(f"  {took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
