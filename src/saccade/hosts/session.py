"""What is open now: contexts of steering and watching, and the run that they apply to. One stack per thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from saccade.core.edits import Edit
from saccade.core.measures import Measure
from saccade.core.spans import Spans

if TYPE_CHECKING:
    from .base import Host
    from .operator import Operator
    from .report import Effect, Seen

SpanMap = Mapping[str, Spans]


@dataclass(eq=False)
class Run:
    """One call of a model, or one generation: the spans of its prompt and what has been learnt of its tokens.

    Attributes:
        spans: spans by axis (see :mod:`saccade.hosts.axes`).
        generating: whether tokens beyond the prompt are the model's own.
        images: image placeholders among the tokens so far, boolean ``[B, tokens]``.
        lengths: tokens so far, by axis.
        caches: the cache and layer of the attention modules that were called with one.
    """

    spans: SpanMap = field(default_factory=dict)
    generating: bool = False
    images: Tensor | None = None
    lengths: dict[str, int] = field(default_factory=dict)
    prompt: dict[str, int] = field(default_factory=dict)
    caches: dict[str, tuple[Any, int]] = field(default_factory=dict)
    memory: dict[object, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Frame:
    """One open ``steer``, ``watch`` or ``tap``."""

    host: Host
    spans: SpanMap
    edits: Sequence[Edit] = ()
    measures: Sequence[Measure] = ()
    sites: frozenset[str] = frozenset()
    effect: Effect | None = None
    seen: Seen | None = None
    tap: Callable[[Operator, Tensor], Tensor] | None = None
    called: bool = False
    replay: bool = False
    run: Run = field(default_factory=Run)


_frames: ContextVar[tuple[Frame, ...]] = ContextVar("saccade_frames", default=())
_runs: ContextVar[tuple[tuple[object, Run], ...]] = ContextVar("saccade_runs", default=())


def frames_of(host: object) -> tuple[Frame, ...]:
    """Contexts of ``host`` that are open in this thread, the outermost first."""
    return tuple(frame for frame in _frames.get() if frame.host is host)


def open_frames() -> tuple[Frame, ...]:
    """Contexts of every host that are open in this thread."""
    return _frames.get()


def open_hosts() -> tuple[Host, ...]:
    """Hosts that have an open context in this thread."""
    return tuple(dict.fromkeys(frame.host for frame in _frames.get()))


def run_of(host: object) -> Run:
    """The run that a call of ``host`` belongs to: the innermost in progress, else that of its innermost context."""
    for owner, run in reversed(_runs.get()):
        if owner is host:
            return run
    return frames_of(host)[-1].run


@contextmanager
def opened(frame: Frame) -> Iterator[None]:
    """Keep ``frame`` open for the body, in this thread only."""
    token = _frames.set((*_frames.get(), frame))
    try:
        yield
    finally:
        _frames.reset(token)


@contextmanager
def running(host: object, run: Run) -> Iterator[None]:
    """Let the calls of ``host`` in the body belong to ``run``."""
    token = _runs.set((*_runs.get(), (host, run)))
    try:
        yield
    finally:
        _runs.reset(token)


@contextmanager
def replaying(frames: tuple[Frame, ...], runs: Sequence[tuple[object, Run]]) -> Iterator[None]:
    """Let the body see ``frames`` again, wherever it runs, without a second entry in their reports."""
    again = tuple(replace(frame, replay=True) for frame in frames)
    hosts = dict.fromkeys(frame.host for frame in frames)
    tokens = _frames.set(again), _runs.set(tuple(runs))
    for host in hosts:
        host._activate()
    try:
        yield
    finally:
        for host in hosts:
            host._deactivate()
        _frames.reset(tokens[0])
        _runs.reset(tokens[1])
