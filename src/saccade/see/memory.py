"""[170, 121] Attention read as human recall: contiguity, primacy, recency, and a fit of context maintenance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.core.errors import MeasureError

Array = NDArray[np.float64]


def lag_curve(weights: Tensor, cues: Tensor, reach: int = 5) -> Tensor:
    """Attention by lag from the earlier occurrence of the query's token: ``[B, H, 2 * reach + 1]``.

    Lag 0 is the earlier occurrence, +1 the token that followed it. A mean over the rows whose lag is a place in the
    sequence (the conditional response probability of recall studies, with attention in the place of responses).

    Args:
        weights: rows of A ``[B, H, R, K]``.
        cues: position of the earlier occurrence for each row ``[B, R]``; -1 where there is none.
        reach: largest lag.

    Source: paper 170 (and paper 121, which calls it the average attention score by lag).

    Example:
        >>> rows = torch.eye(4)[[2, 3]][None, None]                   # two rows that look at positions 2 and 3
        >>> lag_curve(rows, torch.tensor([[1, 2]]), reach=1).tolist()  # both one after their cue
        [[[0.0, 0.0, 1.0]]]
    """
    batch, heads, rows, keys = weights.shape
    if cues.shape != (batch, rows):
        raise MeasureError(f"cues are one position for each row, [B, R] = [{batch}, {rows}]; found {list(cues.shape)}.")
    lags = torch.arange(-reach, reach + 1, device=weights.device)
    places = cues[:, :, None] + lags
    inside = (cues[:, :, None] >= 0) & (places >= 0) & (places < keys)
    index = places.clamp(0, keys - 1)[:, None].expand(-1, heads, -1, -1)
    found = weights.gather(3, index) * inside[:, None]
    return found.sum(2) / inside.sum(1).clamp_min(1)[:, None]


def ends(weights: Tensor, count: int = 5) -> tuple[Tensor, Tensor]:
    """Primacy and recency: mean attention on the first and on the last ``count`` keys of each row, over uniform.

    Args:
        weights: rows of A ``[B, H, R, K]``; keys that a row does not see have weight 0 at its end.

    Returns:
        Two tensors ``[B, H]``; 1 is what uniform attention over the keys that are seen would give.
    """
    seen = (weights > 0).flip(-1).long().argmax(-1)
    last = weights.shape[-1] - seen
    place = torch.arange(weights.shape[-1], device=weights.device)
    recent = (place >= (last - count)[..., None]) & (place < last[..., None])
    share = count / last.clamp_min(count).float()
    primacy = weights[..., :count].sum(-1) / share
    recency = (weights * recent).sum(-1) / share
    return primacy.mean(-1), recency.mean(-1)


@dataclass(frozen=True)
class CMR:
    r"""Context maintenance and retrieval: what a drifting context makes of a list in which an item comes again.

    The context drifts as :math:`t_i = \rho t_{i-1} + \beta f_i` with :math:`\rho = \sqrt{1 - \beta^2}`; item j is tied
    to the context before it, :math:`t_{j-1}`. A repeated item i brings back
    :math:`(1 - \gamma) f_i + \gamma\, t_{i-1}`, so the activation at lag L is

    .. math:: a(L) = (1 - \gamma)\, \beta \rho^{L-1} [L \ge 1] + \gamma\, \rho^{|L|}

    and items are recalled with probability :math:`\mathrm{softmax}(a / \tau)` over the lags, 0 left out.

    Args:
        beta: drift of the context, in (0, 1).
        gamma: share of the context that is brought back, against the item itself.
        temperature: of the softmax.

    Source: paper 121, with orthonormal items and a list long before and after the item.

    Example:
        >>> curve = CMR(beta=0.8, gamma=0.2, temperature=0.1).curve(3)
        >>> int(curve.argmax()), round(float(curve.sum()), 6)          # lags -3, -2, -1, 1, 2, 3
        (3, 1.0)
    """

    beta: float
    gamma: float
    temperature: float

    def curve(self, reach: int) -> Array:
        """Probabilities at the lags ``-reach .. -1, 1 .. reach``."""
        lags = lags_of(reach)
        rho = np.sqrt(1 - self.beta**2)
        forward = np.where(lags >= 1, self.beta * rho ** np.maximum(lags - 1.0, 0.0), 0.0)
        activation = (1 - self.gamma) * forward + self.gamma * rho ** np.abs(lags)
        weight = np.exp((activation - activation.max()) / self.temperature)
        curve: Array = weight / weight.sum()
        return curve


@dataclass(frozen=True)
class Fit:
    """The closest :class:`CMR`, its mean squared distance, and the share of variance that it explains."""

    model: CMR
    distance: float
    explained: float


def fit_cmr(curve: Tensor | Array) -> Fit:
    """The CMR whose recall by lag is closest to a head's attention by lag, by a search over a grid.

    Args:
        curve: attention at the lags ``-reach .. reach`` ``[2 * reach + 1]``; lag 0 is left out, the rest is normalised.
    """
    values = np.asarray(curve.detach().double().cpu() if isinstance(curve, Tensor) else curve, dtype=np.float64)
    if values.ndim != 1 or len(values) % 2 == 0 or len(values) < 5:
        raise MeasureError(f"a lag curve has 2 * reach + 1 entries, reach at least 2; found shape {values.shape}.")
    reach = len(values) // 2
    wanted = np.delete(values, reach)
    wanted = wanted / max(wanted.sum(), 1e-12)
    grid, curves = _grid(reach)
    distances = ((curves - wanted) ** 2).mean(1)
    best = int(distances.argmin())
    spread = float(((wanted - wanted.mean()) ** 2).mean())
    return Fit(grid[best], float(distances[best]), 1 - float(distances[best]) / spread if spread else 0.0)


@cache
def _grid(reach: int) -> tuple[tuple[CMR, ...], Array]:
    """The models that are tried, and their curves."""
    grid = tuple(
        CMR(beta, gamma, temperature)
        for beta in np.linspace(0.05, 0.98, 20)
        for gamma in np.linspace(0.0, 1.0, 11)
        for temperature in np.geomspace(0.02, 5.0, 16)
    )
    return grid, np.stack([model.curve(reach) for model in grid])


def lags_of(reach: int) -> NDArray[np.int64]:
    """The lags ``-reach .. -1, 1 .. reach``."""
    return np.array([lag for lag in range(-reach, reach + 1) if lag], dtype=np.int64)
