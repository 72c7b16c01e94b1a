"""The comparison as jobs: whatever has no result yet is run, so that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from saccade.bench.cost import costs
from saccade.bench.learn import Setting, fits, learn
from saccade.bench.problems import PROBLEMS, BenchError
from saccade.mechanisms import names
from saccade.mechanisms.registry import find
from saccade.repro.record import ROOT, code_hash

RESULTS = ROOT / "bench" / "results"
FRAME = ("saccade.bench.problems", "saccade.bench.learn", "saccade.repro.host", "saccade.repro.source")


@dataclass(frozen=True)
class Job:
    """One mechanism on one problem with so many layers."""

    mechanism: str
    problem: str
    layers: int

    @property
    def key(self) -> str:
        """As results are filed."""
        return f"{self.problem}/{self.layers}"


def code(name: str) -> str:
    """Hash of the mechanism's module and of what measures it: a result with another is run anew."""
    return code_hash((find(name).__module__, *FRAME))


def path(folder: Path, setting: Setting, name: str) -> Path:
    """File of one mechanism's results."""
    return folder / setting.name / f"{name}.json"


def load(file: Path) -> dict[str, Any]:
    """Results of one mechanism: ``learn`` by problem and layers, ``cost`` by length."""
    held: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {"learn": {}, "cost": {}}
    return held


def store(file: Path, part: str, key: str, value: Any) -> None:
    """Add one result to its file."""
    held = load(file)
    held[part][key] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", "utf-8")


def chosen(only: Sequence[str]) -> list[str]:
    """The mechanisms asked for, or all that a host can hold.

    Raises:
        BenchError: one of them fits no host.
    """
    found = list(only) or [name for name in names() if fits(name)]
    wrong = [name for name in found if find(name) and not fits(name)]
    if wrong:
        raise BenchError(f"no host holds {', '.join(wrong)}: they need a grid, or two sequences.")
    return found


def missing(mechanisms: Sequence[str], setting: Setting, folder: Path) -> list[Job]:
    """Jobs without a result of the present code and setting, problem by problem, the plain mechanism first."""
    jobs = []
    for layers in setting.layers:
        for problem in PROBLEMS:
            for name in sorted(mechanisms, key=lambda each: (each != "softmax", each)):
                job = Job(name, problem, layers)
                held = load(path(folder, setting, name))["learn"].get(job.key, {})
                if held.get("code") != code(name) or held.get("setting") != stated(setting):
                    jobs.append(job)
    return jobs


def stated(setting: Setting) -> dict[str, Any]:
    """The setting as JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(setting)))
    return {key: value for key, value in found.items() if key not in ("name", "layers")}


def work(job: Job, setting: Setting) -> dict[str, Any]:
    """Run one job on one core."""
    torch.set_num_threads(1)
    return {**learn(job.mechanism, job.problem, job.layers, setting), "code": code(job.mechanism)}


def run(jobs: Sequence[Job], setting: Setting, folder: Path, processes: int) -> Iterator[Job]:
    """Run jobs side by side; each is stored, then yielded, as it ends."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(work, job, setting): job for job in jobs}
        try:
            for done in as_completed(waiting):
                job = waiting[done]
                value = {**done.result(), "setting": stated(setting)}
                store(path(folder, setting, job.mechanism), "learn", job.key, value)
                yield job
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def measure_costs(
    mechanisms: Sequence[str], setting: Setting, folder: Path, lengths: Sequence[int], threads: int
) -> Iterator[str]:
    """Costs of each mechanism, one after the other, for the machine has to be quiet; those of the present code stay."""
    for name in mechanisms:
        file, held = path(folder, setting, name), None
        held = load(file)["cost"]
        if (
            held.get("code") != code_hash((find(name).__module__, "saccade.bench.cost"))
            or held.get("threads") != threads
        ):
            mark = code_hash((find(name).__module__, "saccade.bench.cost"))
            for key, value in {"lengths": costs(name, lengths, threads), "code": mark, "threads": threads}.items():
                store(file, "cost", key, value)
        yield name
