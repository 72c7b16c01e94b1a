"""What claims about the heads of the model `reader` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from saccade.core.sites import At
from saccade.heads import HeadSet, ZeroAblation, hits, labelled
from saccade.repro.statistics import Units
from saccade.tasks import Task

BATCH = 50


def examples(lm: Any, task: Task, count: int, *spans: str) -> list[tuple[Any, list[str]]]:
    """A labelled set of a task."""
    return labelled(lm, task.examples(count), *spans, batch=BATCH)


@torch.no_grad()
def right(lm: Any, data: Any, without: At = ()) -> Units:
    """Whether each sample is answered right, 0 or 1, with some heads at zero: ``[samples]``."""
    if isinstance(without, HeadSet) and len(without):
        with lm.steer(ZeroAblation(without)):
            return hits(lm, data).double().numpy()
    return hits(lm, data).double().numpy()


def pairs(baseline: Units, method: Units) -> Units:
    """Units of two columns."""
    return np.stack([baseline, method], 1)


def mean_over(draws: Sequence[Units]) -> Units:
    """Of each sample, over draws of random heads."""
    mean: Units = np.mean(np.stack(draws), 0)
    return mean


def written(heads: HeadSet) -> list[str]:
    """Heads with their scores, as text."""
    return [f"{head} {head.score:.3f}" for head in heads]
