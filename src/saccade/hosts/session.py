"""What is open now: contexts of steering and watching, and the run that they apply to. One stack per thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from saccade.core.edits import Edit
from saccade.core.measures import Measure
from saccade.core.spans import Spans

if TYPE_CHECKING:
    from .base import Host
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
    """One open ``steer`` or ``watch``."""

    host: Host
    spans: SpanMap
    edits: Sequence[Edit] = ()
    measures: Sequence[Measure] = ()
    sites: frozenset[str] = frozenset()
    effect: Effect | None = None
    seen: Seen | None = None
    called: bool = False
    run: Run = field(default_factory=Run)


_frames: ContextVar[tuple[Frame, ...]] = ContextVar("saccade_frames", default=())
_run: ContextVar[tuple[object, Run] | None] = ContextVar("saccade_run", default=None)


def frames_of(host: object) -> tuple[Frame, ...]:
    """Contexts of ``host`` that are open in this thread, the outermost first."""
    return tuple(frame for frame in _frames.get() if frame.host is host)


def open_frames() -> tuple[Frame, ...]:
    """Contexts of every host that are open in this thread."""
    return _frames.get()


def run_of(host: object) -> Run:
    """The run that a call of ``host`` belongs to."""
    current = _run.get()
    return current[1] if current is not None and current[0] is host else frames_of(host)[-1].run


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
    token = _run.set((host, run))
    try:
        yield
    finally:
        _run.reset(token)
