"""A process that builds one module's variants and runs them on request: ``python -m benchmarks.worker MODULE SIZE``.

Requests are JSON lines on standard input, answers JSON lines on standard output. Needs nothing but torch and what the
module itself imports, so it runs in any peer's environment.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from . import memory
from .harness import Seconds


def main(module: str, size: str, threads: str) -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with contextlib.redirect_stdout(sys.stderr):
        import torch

        torch.set_num_threads(int(threads))
        case = importlib.import_module(module)
        with torch.no_grad():
            serve(case, case.Size(**json.loads(size)), answers)


def serve(case: Any, size: Any, answers: Any) -> None:
    """Answer each request: ``{"variant": name, "what": "seconds" | "memory"}``."""

    @functools.cache
    def built(variant: str) -> Callable[[], object]:
        call: Callable[[], object] = case.VARIANTS[variant](size)
        return call

    what = {"seconds": seconds, "memory": footprint}
    for line in sys.stdin:
        request = json.loads(line)
        reply = what[request["what"]](functools.partial(built, request["variant"]), case, request["variant"])
        print(json.dumps(reply), file=answers, flush=True)


def seconds(build: Callable[[], Callable[[], object]], case: Any, variant: str) -> float:
    """Wall time of one run."""
    call = build()
    start = time.perf_counter()
    result = call()
    stop = time.perf_counter()
    return float(result) if isinstance(result, Seconds) else stop - start


def footprint(build: Callable[[], Callable[[], object]], case: Any, variant: str) -> dict[str, object]:
    """Bytes resident with the libraries loaded, with the inputs built, and at most while one run lasts; its answer."""
    case.VARIANTS[variant](case.QUICK)()
    libraries = memory.resident()
    call = build()
    before = memory.resident()
    result, peak = memory.peak_of(call)
    return {"bytes": {"libraries": libraries, "before": before, "peak": peak}, "answer": digest(result)}


def digest(result: Any) -> list[float]:
    """A tensor that a variant found, reduced to its means over all axes but the first and the last."""
    tensor = hasattr(result, "flatten") and result.dim() > 2
    return result.double().flatten(1, -2).mean(1).flatten().tolist() if tensor else []


if __name__ == "__main__":
    main(*sys.argv[1:4])
