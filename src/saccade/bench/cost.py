"""What one layer of a mechanism costs by length: time beside fused softmax, operations, memory, decode state."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from saccade.bench.learn import mixer
from saccade.mechanisms import info, mechanism
from saccade.mechanisms.state import State

DIM, HEADS, CHUNK = 256, 4, 1024
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
LIMIT, PATIENCE, LEAST = 10 * 2**30, 120.0, 0.3
"""Bytes of address space beyond the libraries', seconds a length, and seconds that are timed at least."""


def layer(name: str, length: int) -> Any:
    """One layer of the mechanism, as the hosts of the comparison build it."""
    chosen = mixer(name)
    options = {**chosen.options, **({"length": length} if "length" in chosen.options else {})}
    return mechanism(name, DIM, HEADS, positions=chosen.positions, **options).eval()


def paired(run: Callable[[], Tensor], peer: Callable[[], Tensor]) -> tuple[float, float]:
    """Seconds of a run, and its median ratio to a peer that runs in turn with it."""
    mine: list[float] = []
    ratios: list[float] = []
    while sum(mine) < LEAST or len(mine) < 3:
        marks = [time.perf_counter()]
        for call in (peer, run):
            call()
            marks.append(time.perf_counter())
        mine.append(marks[2] - marks[1])
        ratios.append(mine[-1] / (marks[1] - marks[0]))
    return statistics.median(mine), statistics.median(ratios)


def peak() -> int:
    """Most bytes that were resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.no_grad()
def measure(name: str, length: int, threads: int) -> dict[str, float]:
    """Costs of one layer of width 256 with 4 heads at one length, batch 1, in this process."""
    from saccade.testing.cost import counted

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    causal = info(name).causal
    own, softmax = layer(name, length), layer("softmax", length)
    x = torch.randn(1, length, DIM)
    own(x[:, :64], causal=causal)
    softmax(x[:, :64], causal=causal)
    before = peak()
    own(x, causal=causal)
    grown = peak() - before
    seconds, ratio = paired(lambda: own(x, causal=causal), lambda: softmax(x, causal=causal))
    found = {"seconds": seconds, "ratio": ratio, "peak": grown, "flops": counted(lambda: own(x, causal=causal)).flops}
    if info(name).decode != "none":
        state = State()
        for part in x.split(CHUNK, 1):
            own(part, state=state)
        found["state"] = state.nbytes
    return found


def costs(name: str, lengths: Sequence[int], threads: int) -> dict[str, dict[str, Any]]:
    """``measure`` at each length, each in a process of its own; beyond a length that fails nothing is tried.

    A length fails when it needs more than 10 GiB or two minutes: ``{"failed": reason}``.
    """
    found: dict[str, dict[str, Any]] = {}
    for length in lengths:
        command = [sys.executable, "-m", "saccade.bench.cost", name, str(length), str(threads)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            found[str(length)] = {"failed": f"over {PATIENCE:.0f} s"}
            break
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            memory = "alloc" in last[0] or "memory" in last[0].lower() or done.returncode < 0
            found[str(length)] = {"failed": f"over {LIMIT >> 30} GiB" if memory else last[0]}
            break
        found[str(length)] = json.loads(done.stdout)
    return found


def efficiency_length(found: dict[str, dict[str, Any]]) -> int | None:
    """The least measured length from which on the layer is faster than fused softmax; None where it never is.

    >>> efficiency_length({"256": {"ratio": 2.0}, "512": {"ratio": 0.9}, "1024": {"ratio": 0.5}})
    512
    """
    faster: int | None = None
    for length in sorted(found, key=int, reverse=True):
        if found[length].get("ratio", 2.0) >= 1.0:
            break
        faster = int(length)
    return faster


if __name__ == "__main__":
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT, used + LIMIT))
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
