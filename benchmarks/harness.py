"""How things are compared: in one run, A B A B ..., as the median of pairwise ratios; memory in a fresh process."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
ENVS = ROOT / "benchmarks" / ".envs"


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        group, name: what was measured; rows of one group share a table.
        against: what it is divided by.
        seconds, against_seconds: medians, per ``unit``.
        ratio, low, high: median, least and largest of the pairwise ratios.
        repeats: number of pairs.
        bar: the ratio that was promised, if any.
        memory, against_memory: ``{"libraries", "before", "peak"}`` in bytes, see :mod:`benchmarks.worker`.
        memory_bar: the promised ratio of peak memory without libraries.
        extra_bar: the promised extra memory in bytes.
        difference: largest difference of the answer from that of Saccade, where both were asked the same.
        note: what was run, where the name does not say it.
    """

    group: str
    name: str
    against: str
    seconds: float
    against_seconds: float
    ratio: float
    low: float
    high: float
    repeats: int
    unit: str = "call"
    bar: float | None = None
    memory: dict[str, int] | None = None
    against_memory: dict[str, int] | None = None
    memory_bar: float | None = None
    extra_bar: int | None = None
    difference: float | None = None
    note: str = ""


class Seconds(float):
    """What a variant returns if it timed the interesting part of its work itself."""


@dataclasses.dataclass(frozen=True)
class First:
    """The first run of a variant in a fresh worker.

    Attributes:
        bytes: resident memory, see :func:`benchmarks.worker.footprint`.
        answer: what it found, reduced; empty if it found no tensor.
    """

    bytes: dict[str, int]
    answer: list[float]


class Worker:
    """A process that runs the variants of a module; ``env`` names a peer's environment, None is this one."""

    def __init__(self, module: str, size: Any, threads: int, env: str | None = None) -> None:
        python = sys.executable if env is None else str(python_of(env))
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1")
        paths = [str(ROOT), *([str(ROOT / "src")] if env is None else [])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        command = [python, "-m", "benchmarks.worker", module, json.dumps(dataclasses.asdict(size)), str(threads)]
        self._log = Path(tempfile.mkstemp(suffix=".log")[1])
        with self._log.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )

    def seconds(self, variant: str) -> float:
        """Wall time of one run."""
        return float(self._ask(variant, "seconds"))

    def first(self, variant: str) -> First:
        """Memory and answer of the first run; the memory means something in a fresh worker only."""
        return First(**self._ask(variant, "memory"))

    def _ask(self, variant: str, what: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"variant": variant, "what": what}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            raise RuntimeError(f"{variant}: the worker ended.\n{self._log.read_text()[-3000:]}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._log.unlink()


@dataclasses.dataclass(frozen=True)
class Bench:
    """Settings of a run.

    Attributes:
        quick: tiny sizes and few repetitions: shows that everything runs, measures nothing.
        threads: torch threads of every worker.
        peers: whether to run peers that have an environment of their own.
        missing: peers that were asked for and are not installed.
    """

    quick: bool
    threads: int
    peers: bool = True
    missing: list[str] = dataclasses.field(default_factory=list)

    def worker(self, module: str, size: Any, env: str | None = None) -> Worker:
        """A fresh process."""
        return Worker(module, size, self.threads, env)

    def repeats(self, full: int) -> int:
        """How many pairs to take."""
        return 1 if self.quick else full

    def has(self, env: str) -> bool:
        """Whether to run a peer; one that is not installed is put down as missing."""
        if not self.peers:
            return False
        if python_of(env).exists():
            return True
        if env not in self.missing:
            self.missing.append(env)
        return False


def python_of(env: str) -> Path:
    """The interpreter of a peer's environment."""
    return ENVS / env / "bin" / "python"


@dataclasses.dataclass(frozen=True)
class Runner:
    """A variant in a worker."""

    worker: Worker
    variant: str

    def seconds(self) -> float:
        """Wall time of one run."""
        return self.worker.seconds(self.variant)


Pairs = Mapping[str, Sequence[tuple[float, float]]]


def compare(base: Runner, others: Mapping[str, Runner], repeats: int, warm: bool = True) -> Pairs:
    """Times of (base, other), by name: each other runs right after a run of the base, round after round.

    Args:
        warm: run everything once before, untimed.
    """
    if warm:
        for runner in (base, *others.values()):
            runner.seconds()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in others}
    for _ in range(repeats):
        for name, runner in others.items():
            found[name].append((base.seconds(), runner.seconds()))
    return found


def row(group: str, name: str, against: str, pairs: Sequence[tuple[float, float]], **more: Any) -> Row:
    """The row of some pairs of times (against, this)."""
    ratios = [mine / base for base, mine in pairs]
    return Row(
        group,
        name,
        against,
        statistics.median(mine for _, mine in pairs),
        statistics.median(base for base, _ in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        len(pairs),
        **more,
    )
