"""Checks of what a mechanism states: patterns, cost, parameters, repeatability, saving."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from saccade.core.errors import MechanismError
from saccade.mechanisms import State, extra_parameters, mechanism
from saccade.mechanisms.info import PATTERNS
from saccade.testing.cost import counted, exponent
from saccade.testing.subject import Case, Subject

TOLERANCE = 0.15
CALLS_PER_TOKEN = 1.0


def check_contract(subject: Subject) -> None:
    """Serves the patterns it states, raises on the others, explains itself, refuses unknown options and bad shapes."""
    for pattern in PATTERNS:
        case = Case(pattern=pattern, length=8, keys=8)
        m, (x, context) = subject.build(case), subject.inputs(case)
        if pattern in subject.info.patterns:
            assert m(x, context, case.causal).shape == x.shape, f"{pattern}: output must have the shape of x"
            assert m.info.summary in m.explain(8, causal=case.causal, cross=case.cross)
            continue
        assert _refuses(m, x, context, case.causal), f"{pattern} is not stated, yet it runs"
        assert _refuses(m.explain, 8, causal=case.causal, cross=case.cross), f"{pattern} is not stated, yet explained"
    case = Case(pattern=subject.info.patterns[0])
    m, (x, context) = subject.build(case), subject.inputs(case)
    assert _refuses(m, x[..., 1:], context, case.causal), "an input of the wrong width is accepted"
    if subject.paddable:
        assert _refuses(m, x, context, case.causal, torch.ones(1, 1).bool()), "a mask that does not fit is accepted"
    assert _refuses(subject.build, case, no_such_option=1), "any option is accepted"
    if subject.info.decode == "none" and subject.info.causal:
        assert _refuses(m, x, state=State()), "info.decode is 'none', yet a state is accepted"


def check_extra_parameters(subject: Subject) -> None:
    """``info.parameters`` is "none" if and only if it has as many parameters as softmax attention."""
    extra = extra_parameters(subject.build(Case(pattern=subject.info.patterns[0])))
    stated = subject.info.parameters
    assert (stated == "none") == (extra == 0), f"info.parameters says {stated!r}; counted beyond softmax: {extra}"


def check_repeatable(subject: Subject) -> None:
    """The same bits twice, and no random number drawn, in evaluation mode: nothing is dropped then."""
    for pattern in subject.info.patterns:
        case = Case(pattern=pattern)
        m, (x, context) = subject.build(case), subject.inputs(case)
        torch.manual_seed(0)
        before = torch.get_rng_state()
        first, second = (m(x, context, case.causal) for _ in range(2))
        assert torch.equal(first, second), f"{pattern}: two calls differ"
        assert torch.equal(before, torch.get_rng_state()), f"{pattern}: random numbers are drawn in evaluation mode"


def check_saving(subject: Subject) -> None:
    """``config`` and ``state_dict`` bring it back, bit for bit."""
    case = Case(pattern=subject.info.patterns[0])
    m, (x, context) = subject.build(case), subject.inputs(case)
    stream = io.BytesIO()
    torch.save(m.state_dict(), stream)
    stream.seek(0)
    target = {} if isinstance(subject.target, str) else {"name": type(getattr(m, "inner", m))}
    again = mechanism(**{**m.config, **target}).to(torch.float64).eval()
    again.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(again(x, context, case.causal), m(x, context, case.causal)), "it computes something else"


def check_cost(subject: Subject) -> None:
    """Counted operations and bytes grow with the stated exponent, to 0.15; linear mechanisms do not loop over tokens.

    Bytes are those that kernels read and write; they may grow linearly instead, where scores never leave a kernel.
    """
    stated = subject.info.cost
    short, long = subject.cls.lengths or ((1024, 2048) if stated < 1.5 else (384, 768) if stated < 2.5 else (64, 128))
    for pattern in subject.info.patterns:
        work = []
        for length in (short, long):
            case = Case(batch=1, length=length, keys=length, heads=2, kv_heads=2, pattern=pattern)
            m, (x, context) = subject.build(case, torch.float32, full_size=True), subject.inputs(case, torch.float32)
            work.append(counted(partial(m, x, context, case.causal)))
        found = exponent(work[0].flops, work[1].flops, long / short)
        assert abs(found - stated) <= TOLERANCE, f"{pattern}: states n^{stated:g}, counted operations n^{found:.2f}"
        moved = exponent(work[0].bytes, work[1].bytes, long / short)
        fitting = min(abs(moved - stated), abs(moved - 1)) <= TOLERANCE
        assert fitting, f"{pattern}: states n^{stated:g}, counted bytes n^{moved:.2f}, which is neither that nor n^1"
        calls = (work[1].calls - work[0].calls) / (long - short)
        assert stated >= 1.5 or calls < CALLS_PER_TOKEN, f"{pattern}: {calls:.1f} kernel calls a token: it loops"


def check_step_cost(subject: Subject) -> None:
    """A decoding step of a recurrent mechanism costs the same after 32 tokens and after 256."""
    case = Case(batch=1, length=257, keys=257, heads=2, kv_heads=2)
    m, (x, _) = subject.build(case), subject.inputs(case)
    work = []
    for past in (32, 256):
        state = State()
        m(x[:, :past], state=state)
        work.append(counted(partial(m, x[:, past : past + 1], state=state)).flops)
    assert work[1] <= 1.1 * work[0], f"a step costs {work[0]} operations after 32 tokens, {work[1]} after 256"


def _refuses(run: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    try:
        run(*args, **kwargs)
    except MechanismError:
        return True
    return False
