"""Every engine against the float64 dense oracle, on programs drawn by hypothesis."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor

import saccade as sc
from core.programs import Call, calls
from saccade.core import fused, kernels, planner, tiled

PATHS = {
    "tiled": ("tiled", 24),
    "fused": ("fused", 24),
    "segments": ("auto", 0),
    "columns": ("auto", 10**6),
}
"""Engine, and the overhead of a run that makes the planner favour segments or columns."""


def error(found: object, wanted: object, least: float = 1.0) -> float:
    """Largest error, relative to the largest magnitude (at least ``least``); infinities must agree."""
    if isinstance(found, tuple) and isinstance(wanted, tuple):
        found, wanted = found[0], wanted[0]
    assert isinstance(found, Tensor)
    assert isinstance(wanted, Tensor)
    assert found.shape == wanted.shape
    finite = torch.isfinite(wanted)
    assert torch.equal(finite, torch.isfinite(found)), "infinities differ"
    if not finite.any():
        return 0.0
    wanted = wanted.double()[finite]
    return float((found.double()[finite] - wanted).abs().max() / wanted.abs().max().clamp_min(least))


def oracle(call: Call, dtype: torch.dtype = torch.float32) -> sc.Result:
    try:
        return call.run("dense", dtype, measures=[*call.measures, sc.LogSumExp("size")])
    except sc.EditError:
        assume(False)
        raise


def largest_logit(result: sc.Result) -> float:
    lse = result["size"]
    assert isinstance(lse, Tensor)
    finite = lse[torch.isfinite(lse)]
    return float(finite.abs().max()) if finite.numel() else 1.0


def agree(found: sc.Result, wanted: sc.Result, names: list[str]) -> None:
    path = (found.plan.engine, found.plan.lowering)
    assert found.touched == wanted.touched
    assert error(found.values, wanted.values) <= 1e-5, (path, "values")
    for name in names:
        least = max(1.0, largest_logit(wanted)) if name == "entropy" else 1.0
        assert error(found[name], wanted[name], least) <= 1e-5, (path, name)


@settings(max_examples=max(2000, settings.default.max_examples if settings.default else 0))
@given(calls())
def test_engines_agree_with_the_oracle(call: Call) -> None:
    wanted = oracle(call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "SMALL", 0)
        patch.setattr(planner, "FEW_ROWS", 0)
        for engine, overhead in PATHS.values():
            patch.setattr(planner, "RUN_OVERHEAD", overhead)
            try:
                found = call.run(engine)
            except sc.EngineError:
                assert engine == "fused"
                continue
            event(f"{engine}: {found.plan.engine} {found.plan.lowering}")
            agree(found, wanted, [measure.name for measure in call.measures])


@given(calls(longest=9), st.integers(1, 200))
def test_tiles_of_any_size_agree(call: Call, entries: int) -> None:
    wanted = oracle(call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "TILE_ENTRIES", entries)
        agree(call.run("tiled"), wanted, [measure.name for measure in call.measures])


@given(calls())
def test_kernels_without_a_log_sum_exp_agree(call: Call) -> None:
    """The path of devices whose kernel takes either a mask or ``causal``, and returns no log-sum-exp."""
    wanted = oracle(call)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "SMALL", 0)
        patch.setattr(planner, "FEW_ROWS", 0)
        patch.setattr(planner, "RUN_OVERHEAD", 10**6)
        for module in (planner, fused):
            patch.setattr(module, "kernel_for", lambda device: kernels.Sdpa())
        found = call.run("auto")
        event(f"{found.plan.engine} {found.plan.lowering}")
        agree(found, wanted, [measure.name for measure in call.measures])


@given(calls(), st.sampled_from([torch.bfloat16, torch.float16]), st.sampled_from(sorted(PATHS)))
def test_low_precision_errs_at_most_twice_as_much_as_the_plain_kernel(
    call: Call, dtype: torch.dtype, path: str
) -> None:
    plain = Call(call.q, call.k, call.v, {"causal": call.options["causal"]})
    rounded = Call(call.q.to(dtype), call.k.to(dtype), call.v.to(dtype), call.options, call.edits)
    wanted = oracle(rounded, torch.float64).values
    exact = Call(rounded.q, rounded.k, rounded.v, plain.options).run("dense", torch.float64).values
    budget = 2 * max(error(plain.run("fused", dtype).values, exact), torch.finfo(dtype).eps)
    engine, overhead = PATHS[path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "RUN_OVERHEAD", overhead)
        patch.setattr(planner, "SMALL", 0)
        try:
            found = rounded.run(engine, dtype)
        except sc.EngineError:
            assert engine == "fused"
            return
    assert found.values.dtype == dtype
    assert error(found.values, wanted) <= budget
