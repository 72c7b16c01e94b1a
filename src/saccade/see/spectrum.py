"""Spectra of attention without forming it: Lanczos on products with A and its transpose."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.core.errors import MeasureError

from .trace import Step

Array = NDArray[np.float64]


def singular_values(step: Step, head: int, count: int = 6, sample: int = 0, seed: int = 0) -> Array:
    """The largest singular values of one head's A, falling; each costs a few products, O(n) memory.

    Args:
        step: of a trace.
        head: the query head.
        count: how many, fewer than the smaller side of A.
        sample: which sample.
        seed: of the start vector.

    Source: scipy's ``svds`` (ARPACK) on a linear operator.

    Example:
        >>> import saccade as sc
        >>> from saccade.see import trace
        >>> model, _ = sc.zoo.load("copier")
        >>> step = trace(sc.attach(model), input_ids=torch.arange(40)[None]).steps[1]
        >>> values = singular_values(step, head=0, count=3)
        >>> bool((values[:-1] >= values[1:]).all())
        True
    """
    try:
        from scipy.sparse.linalg import LinearOperator, svds
    except ImportError:
        raise MeasureError("spectra need scipy: pip install scipy.") from None
    _, _, queries, keys = step.shape
    if not 0 < count < min(queries, keys):
        raise MeasureError(f"count lies between 1 and {min(queries, keys) - 1}, found {count}.")
    device = step.values.device

    def forth(x: Array) -> Array:
        column = torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device).view(1, keys, 1)
        return _numpy(step.applied(column.expand(step.shape[0], -1, -1))[sample, head, :, 0])

    def back(g: Array) -> Array:
        row = torch.from_numpy(np.asarray(g, dtype=np.float32)).to(device).view(1, 1, queries)
        return _numpy(step.transposed(row)[sample, head])

    operator = LinearOperator((queries, keys), matvec=forth, rmatvec=back, dtype=np.float64)
    start = np.random.default_rng(seed).normal(size=min(queries, keys))
    values = svds(operator, k=count, v0=start, return_singular_vectors=False)
    return np.sort(np.asarray(values, dtype=np.float64))[::-1].copy()


def _numpy(values: torch.Tensor) -> Array:
    found: Array = values.double().cpu().numpy()
    return found
