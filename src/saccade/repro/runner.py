"""Running a claim and writing down what it gave."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context

from .record import Record, code_hash
from .registry import ClaimError, find
from .result import pool

LIBRARIES = ("torch", "transformers", "numpy")


def run(number: int, quick: bool = False, seeds: Sequence[int] = (0,)) -> Record:
    """Run the claim of a paper.

    Args:
        number: the paper.
        quick: the smaller form, under a minute on one core.
        seeds: seeds to pool: the claim runs once for each, and all units enter one interval.

    Raises:
        PaperError, ClaimError: there is no such paper, or it has no claim.
    """
    if not seeds:
        raise ClaimError("a claim runs with one seed at least, found none.")
    claim = find(number)
    started = time.perf_counter()
    result = pool([claim.function(quick, seed) for seed in seeds])
    seconds = time.perf_counter() - started
    main, *also = (one.summary() for one in (result.main, *result.also))
    return Record(
        id=number,
        claim=claim.text,
        **{**main, "holds": result.holds},
        also=also,
        seconds=round(seconds, 2),
        details=result.details,
        quick=quick,
        seeds=list(seeds),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        modules=list(claim.modules),
        code=code_hash(claim.modules),
    )


def run_all(
    numbers: Sequence[int], quick: bool = False, seeds: Sequence[int] = (0,), jobs: int = 1
) -> Iterator[Record]:
    """Run several claims; each record is yielded when it is there, in the order given where ``jobs`` is 1.

    Args:
        jobs: how many run side by side, each in a process with one thread.
    """
    if jobs == 1:
        yield from (run(number, quick, seeds) for number in numbers)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=one_thread) as pool:
        for done in as_completed([pool.submit(partial(run, number, quick, seeds)) for number in numbers]):
            yield done.result()


def one_thread() -> None:
    """Keep torch of this process to one thread."""
    import torch

    torch.set_num_threads(1)
