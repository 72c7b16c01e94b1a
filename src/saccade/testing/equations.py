"""Checks of the equation: the fast path, gradients, precision, grouping."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from torch import Tensor

from saccade.mechanisms import Layer
from saccade.testing.compare import assert_close, largest_error
from saccade.testing.subject import Case, Subject, examples


def check_reference(subject: Subject) -> None:
    """The path that runs equals the equation: float64 to 1e-9, on drawn short cases and a long one at full size."""

    @examples(15)
    @given(subject.cases(lengths=(1, 19)))
    def check(case: Case) -> None:
        m, (x, context), mask = subject.build(case), subject.inputs(case), case.mask()
        actual = m(x, context, case.causal, mask)
        expected = m(x, context, case.causal, mask, path="reference")
        assert_close(actual, expected, 1e-9, f"{case}: fast against reference")

    check()
    long = 200 if subject.info.cost < 2.5 else 24
    for pattern in subject.info.patterns:
        case = Case(length=long, keys=long, pattern=pattern, padding="holes" if subject.paddable else "none", seed=1)
        m, (x, context), mask = subject.build(case, full_size=True), subject.inputs(case), case.mask()
        actual, expected = (m(x, context, case.causal, mask, path=path) for path in ("auto", "reference"))
        assert_close(actual, expected, 1e-9, f"{case} at full size: fast against reference")


def check_gradients(subject: Subject) -> None:
    """Analytic gradients of inputs and parameters equal numeric ones."""
    for pattern in subject.info.patterns:
        kv = 1 if subject.info.groups else 2
        keys = 4 if pattern.startswith("cross") else 3
        case = Case(batch=1, length=3, keys=keys, heads=2, kv_heads=kv, pattern=pattern, seed=3)
        m, (x, context) = subject.build(case), subject.inputs(case)
        names = [n for n, p in m.named_parameters() if p.requires_grad]
        given_context = [] if context is None else [context]

        def run(*tensors: Tensor, m: Layer = m, case: Case = case, names: list[str] = names) -> Tensor:
            cut = 2 if case.cross else 1
            values = dict(zip(names, tensors[cut:], strict=True))
            context = tensors[1] if case.cross else None
            out: Tensor = torch.func.functional_call(m, values, (tensors[0], context, case.causal))
            return out

        inputs = [x, *given_context, *(p for p in m.parameters() if p.requires_grad)]
        inputs = [t.detach().clone().requires_grad_() for t in inputs]
        same = torch.autograd.gradcheck(run, inputs, fast_mode=True, atol=1e-5, rtol=1e-3, raise_exception=False)
        assert same, f"{pattern}: analytic and numeric gradients differ (or two backward passes do)"


def check_precision(subject: Subject) -> None:
    """In float32 and bfloat16 no more than twice the error of the plain equation in the same precision."""
    for dtype in (torch.float32, torch.bfloat16):
        for pattern in subject.info.patterns:
            case = Case(batch=2, length=24, keys=24, pattern=pattern, seed=5)
            low, (x, context) = subject.build(case, dtype), subject.inputs(case, dtype)
            exact = subject.build(case)
            exact.load_state_dict({n: t.to(exact.state_dict()[n].dtype) for n, t in low.state_dict().items()})
            wide = None if context is None else context.double()
            oracle = exact(x.double(), wide, case.causal, path="reference")
            plain = largest_error(low(x, context, case.causal, path="reference"), oracle)
            actual = low(x, context, case.causal)
            assert actual.dtype == dtype, f"{pattern}: {dtype} came in, {actual.dtype} came out"
            budget = 2 * plain + 8 * torch.finfo(dtype).eps * oracle.abs().max().item()
            error = largest_error(actual, oracle)
            assert error <= budget, f"{pattern}, {dtype}: error {error:.3g}, the plain equation's gives {budget:.3g}"


def check_groups(subject: Subject) -> None:
    """Query head h reads key-value head h // (heads // kv_heads): grouped equals repeated."""

    @examples(5)
    @given(subject.cases())
    def check(case: Case) -> None:
        grouped = Case(**{**case.__dict__, "kv_heads": 2})
        narrow, wide = subject.build(grouped), subject.build(Case(**{**case.__dict__, "kv_heads": 4}))
        sizes = {n: t.shape for n, t in wide.state_dict().items()}
        wide.load_state_dict({n: _repeat_groups(t, sizes[n], 2) for n, t in narrow.state_dict().items()})
        (x, context), mask = subject.inputs(case), case.mask()
        actual, expected = (m(x, context, case.causal, mask) for m in (narrow, wide))
        assert_close(actual, expected, 1e-9, f"{case}: grouped against repeated heads")

    check()


def check_degenerate(subject: Subject) -> None:
    """Tokens that are all zero, all equal, or very large give finite outputs and gradients."""
    for pattern in subject.info.patterns:
        case = Case(pattern=pattern, seed=7)
        m, (x, context) = subject.build(case), subject.inputs(case)
        for what, change in (("zero", lambda t: t * 0), ("equal", lambda t: t * 0 + 1), ("large", lambda t: t * 1e3)):
            tokens = change(x).requires_grad_()
            out = m(tokens, None if context is None else change(context), case.causal)
            assert out.isfinite().all(), f"{pattern}: {what} tokens give non-finite outputs"
            gradients = torch.autograd.grad(out.sum(), [tokens, *_learned(m)], allow_unused=True)
            finite = all(g is None or bool(g.isfinite().all()) for g in gradients)
            assert finite, f"{pattern}: {what} tokens give non-finite gradients"


def check_every_part_learns(subject: Subject) -> None:
    """Every parameter, and each key-value head's share of it, receives a gradient: no group is left without a head."""
    pattern = "self-causal" if subject.info.causal else subject.info.patterns[0]
    case = Case(batch=3, length=16, keys=16, kv_heads=2 if subject.info.groups else 4, pattern=pattern, seed=11)
    m, (x, context) = subject.build(case), subject.inputs(case)
    out = m(x, context, case.causal)
    out.backward(torch.randn_like(out))
    for name, p in m.named_parameters():
        if not p.requires_grad:
            continue
        assert p.grad is not None, f"{name} is not used"
        assert p.grad.any(), f"{name} receives no gradient"
        if name in ("k.weight", "v.weight", "q.weight"):
            silent = [h for h, g in enumerate(p.grad.unflatten(0, (-1, m.shape.head_dim))) if not g.any()]
            assert not silent, f"heads {silent} of {name} receive no gradient"


def _learned(m: Layer) -> list[Any]:
    return [p for p in m.parameters() if p.requires_grad]


def _repeat_groups(t: Tensor, shape: torch.Size, kv_heads: int) -> Tensor:
    """Repeat ``t`` by key-value heads along every dimension in which it falls short of ``shape``."""
    for dim, size in enumerate(shape):
        if t.shape[dim] != size:
            by_head = t.unflatten(dim, (kv_heads, -1))
            t = by_head.repeat_interleave(size // t.shape[dim], dim=dim).flatten(dim, dim + 1)
    return t
