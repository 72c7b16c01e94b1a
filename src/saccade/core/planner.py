"""EXPLAIN for attention: which engine serves a call, what it costs, and why nothing cheaper could."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import tiled
from .errors import EngineError
from .fused import Fused
from .kernels import kernel_for
from .measures import Distance, Entropy, LogSumExp, Mass, Measure, Pooled, Received, Rows, TopK
from .program import Program
from .segments import Segments

Value = Tensor | tuple[Tensor, Tensor]
FEW_ROWS = 8
SMALL = 2**16
RUN_OVERHEAD = 24
"""Cost of one more kernel call in the segments lowering, in keys."""


@dataclass(frozen=True)
class Step:
    """One step of a plan: what is computed, how, its estimated cost, and why it runs there."""

    what: str
    how: str
    why: str
    flops: float
    bytes: float

    def __str__(self) -> str:
        return f"{self.what}: {self.how}; {_si(self.flops)}FLOP, {_si(self.bytes)}B extra. {self.why}"


@dataclass(frozen=True, eq=False)
class Plan:
    """What runs, in order.

    Attributes:
        engine: engine of the output: ``"fused"``, ``"tiled"`` or ``"dense"``.
        lowering: ``"segments"`` or ``"columns"`` on the fused engine.
        steps: what is computed where, and why.
        elsewhere: names of measures that the tiled engine serves beside a fused output.
        plain_flops: estimate for plain attention without edits and measures.
    """

    engine: str
    lowering: str | None
    steps: tuple[Step, ...]
    elsewhere: frozenset[str] = field(default_factory=frozenset)
    plain_flops: float = 0.0

    @property
    def flops(self) -> float:
        """Estimated floating-point operations."""
        return sum(step.flops for step in self.steps)

    @property
    def bytes(self) -> float:
        """Estimated memory beyond inputs and output, in bytes."""
        return max(step.bytes for step in self.steps)

    @property
    def ratio(self) -> float:
        """Estimated work relative to plain attention."""
        return self.flops / max(self.plain_flops, 1.0)

    def __str__(self) -> str:
        lines = [f"{self.engine} engine, about {self.ratio:.2f}x the work of plain attention"]
        return "\n".join([*lines, *(f"  {index}. {step}" for index, step in enumerate(self.steps, 1))])

    def run(self, program: Program, measures: Sequence[Measure]) -> tuple[Tensor, dict[str, Value]]:
        """Carry out the plan on the fused or tiled engine."""
        if self.engine == "tiled":
            values, found = tiled.run(program, measures)
            assert values is not None
            return values, found
        here = [measure for measure in measures if measure.name not in self.elsewhere]
        there = [measure for measure in measures if measure.name in self.elsewhere]
        values, found = Fused(program, self.lowering == "segments").run(here)
        return values, found | (tiled.run(program, there, want_values=False)[1] if there else {})


def plan(program: Program, measures: Sequence[Measure], engine: str) -> Plan:
    """Choose the cheapest engine that is exact.

    Raises:
        EngineError: ``engine`` is unknown, or named and cannot serve the call.
    """
    if engine not in ("auto", "fused", "tiled", "dense"):
        raise EngineError(f"engine is 'auto', 'fused', 'tiled' or 'dense', found {engine!r}.")
    costs = _Costs(program)
    if engine in ("dense", "tiled"):
        return costs.whole(engine, measures, "asked for by name")
    obstacle = _not_fused(program)
    reasons = {m.name: why for m in measures if (why := _measure_not_fused(m, program)) is not None}
    if engine == "fused":
        problem = obstacle or next((f"{name}: {why}" for name, why in reasons.items()), None)
        if problem:
            raise EngineError(f"the fused engine cannot serve this call: {problem} Use engine='auto' or 'tiled'.")
    elif obstacle:
        return costs.whole("tiled", measures, obstacle)
    elif _is_small(program, measures):
        return costs.whole("tiled", measures, "So few entries that one direct tile is cheapest.")
    here = [measure for measure in measures if measure.name not in reasons]
    lowering, why = _lowering(program, here)
    steps = costs.fused(lowering, why, here)
    steps += [costs.tiles(m.name, reasons[m.name], values=False) for m in measures if m.name in reasons]
    return Plan("fused", lowering, tuple(steps), frozenset(reasons), costs.plain)


def _learns(program: Program) -> bool:
    tensors = (program.q, program.k, program.v, program.bias, program.temper, program.value_scale, program.sinks)
    return torch.is_grad_enabled() and any(
        x is not None and x.requires_grad for x in (*tensors, program.visible.additive)
    )


def _not_fused(program: Program) -> str | None:
    returns_lse = kernel_for(program.q.device).returns_lse
    if program.rewrite_logits or program.rewrite_weights:
        return "Rewrite needs single entries of the matrix."
    if program.softcap is not None:
        return "A softcap bends every logit, which no extra column can express."
    if program.dropout:
        return "Dropout draws single weights."
    if program.scale == 0:
        return "A scale of 0 leaves no logits for the kernel to bias."
    if program.visible.additive is not None and program.visible.additive.requires_grad and _learns(program):
        return "The kernel gives no gradient to an additive bias."
    if program.sinks is not None and (_learns(program) or not returns_lse):
        return "Sinks need a log-sum-exp, which the kernel does not return with gradients."
    return None


def _measure_not_fused(measure: Measure, program: Program) -> str | None:
    if isinstance(measure, TopK):
        return "TopK needs single weights."
    if isinstance(measure, Entropy | LogSumExp | Received | Rows):
        if not isinstance(measure, Rows) and not kernel_for(program.q.device).returns_lse:
            return "This device's kernel returns no log-sum-exp."
        if _learns(program):
            return f"The kernel gives no gradient through {type(measure).__name__}."
    if isinstance(measure, Entropy) and program.visible.additive is not None:
        return "An additive bias enters the entropy entry by entry."
    return None


def _is_small(program: Program, measures: Sequence[Measure]) -> bool:
    visible = program.visible
    reads = bool(measures) or bool(program.reallocate) or program.value_scale is not None
    rows = visible.batch * visible.heads * visible.queries
    return rows * visible.keys <= SMALL or (reads and visible.queries <= FEW_ROWS) or not visible.queries


def _lowering(program: Program, measures: Sequence[Measure]) -> tuple[str, str]:
    visible = program.visible
    varies = any(x is not None and x.shape[2] > 1 for x in (program.bias, program.hidden))
    reads = any(isinstance(m, Mass) for m in measures) or bool(program.reallocate) or program.value_scale is not None
    if _learns(program):
        return "columns", "Gradients flow through one kernel call."
    if program.q.device.type != "cpu":
        return "columns", "This device's kernel returns no log-sum-exp to merge segments with."
    if not visible.structured:
        return "columns", "A window or an entry-wise mask does not split into runs of keys."
    if visible.additive is not None and program.temper is not None and program.temper.shape[2] > 1:
        return "columns", "A temper per row changes the additive bias row by row."
    if not (varies or reads or visible.offset):
        return "columns", "The edit is the same for every query: it rides on a one-row mask."
    groups = Segments(program).groups
    keys = sum(run.end - run.start + RUN_OVERHEAD for _, runs in groups for run in runs) / len(groups)
    width = program.q.shape[-1]
    wide = visible.keys * (width + program.atoms.count) / width + RUN_OVERHEAD
    if keys > wide and not visible.offset:
        return "columns", "The spans are scattered over so many runs that extra columns are cheaper."
    return "segments", "Runs of keys, put together by their log-sum-exps: no mask, no copy, no extra width."


class _Costs:
    """Estimates, not measurements: operations of matrix products, and bytes beyond inputs and output."""

    def __init__(self, program: Program) -> None:
        visible = program.visible
        self.program = program
        self.rows = visible.batch * visible.heads * visible.queries
        share = 0.5 if visible.causal and visible.queries == visible.keys else 1.0
        if visible.window is not None:
            share = min(share, visible.window / max(1, visible.keys))
        self.entries = self.rows * visible.keys * share
        self.size = torch.finfo(program.dtype).bits // 8
        self.width = program.q.shape[-1] + program.v.shape[-1]
        self.plain = 2.0 * self.entries * self.width

    def whole(self, engine: str, measures: Sequence[Measure], why: str) -> Plan:
        names = ", ".join(["output", *(measure.name for measure in measures)])
        step = self.tiles(names, why, values=True) if engine == "tiled" else self._dense(names, why)
        return Plan(engine, None, (step,), plain_flops=self.plain)

    def _dense(self, names: str, why: str) -> Step:
        whole = self.rows * self.program.visible.keys
        return Step(names, "the whole matrix in float64", why, 2.0 * whole * self.width, 3.0 * whole * 8)

    def tiles(self, what: str, why: str, values: bool) -> Step:
        visible = self.program.visible
        full = self.rows * visible.keys
        width = self.width if values else self.program.q.shape[-1]
        tile = min(full, max(tiled.TILE_ENTRIES, visible.batch * visible.heads * visible.keys))
        return Step(what, "tiles of query rows", why, full * (2.0 * width + 8), 4.0 * tile * self.size)

    def fused(self, lowering: str, why: str, measures: Sequence[Measure]) -> list[Step]:
        program = self.program
        count = program.atoms.count
        reads = any(isinstance(m, Mass) and m.edited for m in measures)
        if lowering == "segments":
            runs = sum(len(runs) for _, runs in Segments(program).groups)
            kept = count if program.reallocate else 1
            how = f"segments, {runs} runs of keys"
            work, memory = self.plain, self.rows * self.size * (2.0 + count + kept * program.v.shape[-1])
        else:
            bias = [x for x in (program.bias, program.hidden) if x is not None and x.shape[2] > 1]
            extra = sum(x.shape[-1] for x in bias) * (1 if program.q.dtype == program.dtype else 2)
            read = count if reads else 0
            wider = max(extra, read)
            how = f"one kernel call, {extra} query-key columns and {read} value columns"
            work = 2.0 * self.entries * (self.width + 2 * wider) * (1 + len(program.reallocate))
            memory = 3.0 * wider * self.size * self.rows + (self.rows * self.width * self.size if wider else 0)
        names = ", ".join(["output", *(m.name for m in measures if isinstance(m, Mass | LogSumExp))])
        steps = [Step(names, how, why, work, memory)]
        row_bytes = float(self.rows * self.size * program.q.shape[-1])
        if any(isinstance(m, Mass) and not m.edited for m in measures) and (
            lowering == "columns" or program.temper is not None
        ):
            steps.append(
                Step("mass before", "a second, unedited pass", "The edits change every mass.", self.plain, row_bytes)
            )
        if any(isinstance(m, Entropy) for m in measures):
            steps.append(Step("entropy", "a pass over the keys", "H = lse - E_A[logit].", self.plain, row_bytes))
        columns = sum(2 if isinstance(m, Distance) else m.cols for m in measures if isinstance(m, Distance | Pooled))
        if columns:
            passes = -(-columns // max(program.q.shape[-1], program.v.shape[-1]))
            steps.append(
                Step(
                    "distance, pooled",
                    f"{passes} passes over {columns} columns",
                    "Linear in A.",
                    passes * self.plain,
                    row_bytes,
                )
            )
        if any(isinstance(m, Received) for m in measures):
            steps.append(
                Step("received", "the kernel's backward pass", "A^T g is a gradient.", 2.5 * self.plain, 3 * row_bytes)
            )
        for m in measures:
            if isinstance(m, Rows):
                rows = self.rows // max(1, program.visible.queries) * len(m.queries) * program.visible.keys
                steps.append(
                    Step(
                        m.name,
                        f"{len(m.queries)} rows, directly",
                        "Only these rows are formed.",
                        2.0 * rows * program.q.shape[-1],
                        rows * 4.0 * self.size,
                    )
                )
        return steps


def _si(value: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} P"
