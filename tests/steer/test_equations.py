"""Each method equals the equation of its paper, on any shape of call."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import saccade as sc
from saccade.steer import PASTA, SplitSoftmax, TargetShare, ZeroTuning
from steer.dense import Call, calls, emphasised, moved, tuned, weights_of

ENGINES = st.sampled_from(["auto", "fused", "tiled"])
BOTH = ("a", "b")


def same(found: Tensor, wanted: Tensor) -> None:
    scale = wanted.abs().max().clamp_min(1.0)
    assert float((found.double() - wanted.double()).abs().max() / scale) <= 1e-5


def agree(call: Call, method: object, equation: object, engine: str) -> sc.Result:
    found = call.run(method, engine)
    values, weights = call.dense(equation)
    same(found.values, values)
    for index, name in enumerate(call.spans.names):
        same(found["mass"][..., index], (weights * call.spans[name][:, None, None, :]).sum(-1))
    return found


@given(calls(), st.floats(0.001, 0.9), st.sampled_from(["a", BOTH]), st.booleans(), ENGINES)
def test_pasta_scales_out_everything_but_the_union(call, alpha, span, kept, engine) -> None:
    names = (span,) if isinstance(span, str) else span
    method = PASTA(span, alpha=alpha, at=call.at, new_tokens="kept" if kept else "scaled")
    agree(call, method, emphasised((*names, "generated") if kept else names, alpha), engine)


@given(calls(), st.floats(1.1, 1000.0), st.sampled_from(["a", BOTH]), st.booleans())
def test_pasta_scale_in_is_scale_out_by_the_inverse(call, strength, span, kept) -> None:
    tokens = "kept" if kept else "scaled"
    found = call.run(PASTA(span, strength=strength, at=call.at, new_tokens=tokens))
    same(found.values, call.run(PASTA(span, alpha=1 / strength, at=call.at, new_tokens=tokens)).values)


@given(calls(), st.floats(0.0, 1.0), ENGINES)
def test_split_softmax(call, k, engine) -> None:
    agree(call, SplitSoftmax(k, "a", at=call.at), moved(("a",), lambda p: p**k), engine)


@given(calls(overlapping=False), st.floats(0.0, 1.0), ENGINES)
def test_split_softmax_of_several_spans_is_that_of_their_union(call, k, engine) -> None:
    agree(call, SplitSoftmax(k, BOTH, at=call.at), moved(BOTH, lambda p: p**k), engine)


@given(calls(), st.floats(0.01, 0.99), ENGINES)
def test_target_share(call, share, engine) -> None:
    agree(call, TargetShare("a", share, at=call.at), moved(("a",), lambda p: torch.full_like(p, share)), engine)


@given(calls(overlapping=False), st.floats(0.01, 0.99), ENGINES)
def test_target_share_of_several_spans(call, share, engine) -> None:
    agree(call, TargetShare(BOTH, share, at=call.at), moved(BOTH, lambda p: torch.full_like(p, share)), engine)


@given(calls(), st.floats(0.01, 0.99))
def test_target_share_at_least(call, share) -> None:
    method = TargetShare("a", share, at_least=True, at=call.at)
    agree(call, method, moved(("a",), lambda p: p.clamp_min(share)), "auto")


@given(calls(), st.floats(0.01, 0.99))
def test_target_share_is_a_bias_of_logit_t_minus_logit_p(call, share) -> None:
    wide = replace(call, q=call.q.double(), k=call.k.double(), v=call.v.double())
    target = wide.run(TargetShare("a", share))
    p = target["mass_before"][..., call.spans.index("a")]
    inside = (p > 1e-6) & (p < 1 - 1e-6)
    bias = math.log(share / (1 - share)) - torch.logit(p, eps=1e-9)
    biased = wide.run(sc.Bias("a", torch.where(inside, bias, 0.0)))
    where = inside.unsqueeze(-1).expand_as(target.values)
    assert float((target.values - biased.values)[where].abs().max() if where.any() else 0.0) <= 1e-7


@given(calls(), st.floats(0.05, 0.95))
def test_target_share_is_reached(call, share) -> None:
    found = call.run(TargetShare("a", share))
    before, after = (found[name][..., call.spans.index("a")] for name in ("mass_before", "mass"))
    free = (before > 0) & (before < 1 - 1e-6)
    assert float((after - share)[free].abs().max() if free.any() else 0.0) <= 1e-5


@given(calls(), st.floats(0.01, 10.0), ENGINES)
def test_zero_tuning(call, gamma, engine) -> None:
    agree(call, ZeroTuning(gamma, at=call.at), tuned("bos", gamma), engine)


@given(calls())
def test_spans_are_steered_once(call) -> None:
    """A span named twice, or two spans over the same keys, are one."""
    doubled = sc.Spans({"a": call.spans["a"], "b": call.spans["a"], "generated": call.spans["generated"]})
    twice = replace(call, spans=doubled)
    for method, union in ((PASTA("a"), PASTA(BOTH)), (ZeroTuning(3.0, "a"), ZeroTuning(3.0, BOTH))):
        same(twice.run(union).values, call.run(method).values)
        same(call.run(replace(method, span=("a", "a"))).values, call.run(method).values)


STRONGER = {
    "PASTA, scale-out": lambda s: PASTA("a", alpha=1 / s, new_tokens="scaled"),
    "PASTA, scale-in": lambda s: PASTA("a", strength=s, new_tokens="scaled"),
    "SplitSoftmax": lambda s: SplitSoftmax(1 / s, "a"),
    "TargetShare": lambda s: TargetShare("a", 1 - 0.5 / s),
    "ZeroTuning": lambda s: ZeroTuning(s, "a"),
}


@pytest.mark.parametrize("name", STRONGER)
@given(call=calls(), strength=st.floats(1.5, 50.0), more=st.floats(1.5, 4.0))
def test_more_strength_is_more_attention(name, call, strength, more) -> None:
    index = call.spans.index("a")
    weak, strong = (call.run(STRONGER[name](s))["mass"][..., index] for s in (strength, strength * more))
    before = call.run(STRONGER[name](2.0))["mass_before"][..., index]
    free = (before > 1e-3) & (before < 1 - 1e-3)
    if name != "TargetShare":
        assert bool((weak > before)[free].all())
    assert bool((strong >= weak)[free].all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@given(call=calls(overlapping=False))
def test_masses_are_float32_in_16_bits(dtype, call) -> None:
    low = replace(call, q=call.q.to(dtype), k=call.k.to(dtype), v=call.v.to(dtype))
    found = low.run(TargetShare("a", 0.3))
    assert found["mass"].dtype == torch.float32
    assert found.values.dtype == dtype
    before, after = (found[name][..., call.spans.index("a")] for name in ("mass_before", "mass"))
    free = (before > 1e-3) & (before < 1 - 1e-3)
    assert float((after - 0.3)[free].abs().max() if free.any() else 0.0) <= 0.01


def test_the_published_bias_for_a_target_falls_short() -> None:
    """log(t / p) reaches t / (t + 1 - p): 0.25 of the 0.3 that was asked for, where p is 0.1."""
    q, k = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 10, 4)
    spans = sc.Spans.from_ranges({"a": [(0, 1)]}, length=10)
    options = {"spans": spans, "measures": [sc.Mass()]}
    short = sc.attention(q, k, k, edits=[sc.Bias("a", math.log(0.3 / 0.1))], **options)
    exact = sc.attention(q, k, k, edits=[TargetShare("a", 0.3)], **options)
    assert float(short["mass"]) == pytest.approx(0.25, abs=1e-6)
    assert float(exact["mass"]) == pytest.approx(0.3, abs=1e-6)


def test_rows_without_the_span_or_without_anything_else_stay() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 6, 8) for _ in range(3))
    spans = sc.Spans.from_ranges({"late": [(3, 6)], "first": [(0, 1)]}, length=6)
    mask = torch.ones(1, 6, dtype=torch.bool)
    plain = weights_of(q, k, mask, causal=True) @ v.double()
    late = sc.attention(q, k, v, causal=True, spans=spans, edits=[TargetShare("late", 0.4)]).values
    first = sc.attention(q, k, v, causal=True, spans=spans, edits=[SplitSoftmax(0.5, "first")]).values
    same(late[:, :, :3], plain[:, :, :3])
    same(first[:, :, :1], plain[:, :, :1])
    assert float((late - plain)[:, :, 3:].abs().max()) > 1e-3
