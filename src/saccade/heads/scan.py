"""Every head by itself: what happens to a score when it alone is edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.progress import track

from saccade.core.edits import Edit, Recipe, ScaleHeads
from saccade.core.sites import At

from .fingerprint import fingerprint
from .headset import Head, HeadSet, main_heads
from .scoring import Data, Score, accuracy

if TYPE_CHECKING:
    from saccade.hosts import Host


def scan(
    lm: Host,
    data: Any,
    edit: Callable[[At], Edit | Recipe],
    score: Score = accuracy,
    *,
    among: HeadSet | None = None,
    kind: str = "gain",
    progress: bool = True,
) -> HeadSet:
    """Gain of every head: the score with the head alone edited, minus the score of the model as it is.

    Takes one pass over the data for each head, and one more.

    Args:
        lm: an attached model.
        data: a labelled set (see :mod:`saccade.heads.scoring`), or whatever ``score`` takes.
        edit: the edit or method for the heads ``at``.
        score: ``score(lm, data)``, more is better.
        among: the heads to try; all of the main stack by default.
        kind: kind of the returned set.
        progress: show a progress bar.
    """
    heads = main_heads(lm) if among is None else among.check(lm)
    plain = score(lm, data)
    gains = []
    for item in track(heads, description=f"{kind}: heads", disable=not progress):
        with lm.steer(edit(HeadSet([item.place]))):
            gains.append(Head(*item.place, score(lm, data) - plain))
    return HeadSet(gains, kind, fingerprint(lm))


def importance(
    lm: Host, data: Data, score: Score = accuracy, *, among: HeadSet | None = None, progress: bool = True
) -> HeadSet:
    """How much of the score each head carries: the loss when it alone is zero-ablated (the most important first).

    The arguments are those of :func:`scan`.
    """
    gains = scan(lm, data, lambda at: ScaleHeads(0.0, at=at), score, among=among, kind="importance", progress=progress)
    return gains.negated()
