"""Length-scaled softplus attention with re-weighting (paper 207)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.scored import Scored
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``power`` p of the re-weighting, None to leave it out; the first ``spared`` rows have no offset.

    The paper has p = 3 and 15: 3 is best at the training length, 15 beyond it.
    """

    power: float | None = 15.0
    spared: int = 3

    def __post_init__(self) -> None:
        if self.power is not None and self.power <= 0:
            raise MechanismError(f"power must be positive, or None for no re-weighting, found {self.power}")


class Softplus(Scored):
    """out = A' v, where A = l1(softplus(log d · log N ⊙ q̂·k̂)) and A' = l1(relu(N ⊙ A − O)^p).

    q̂ and k̂ are the unit vectors of q and k, N_i the number of tokens that row i sees, l1 divides a row by its sum, and
    O is one but for the first rows, where it is zero. Read in summaries and an independent implementation that agree on
    all of this; the paper itself was not at hand. A row whose weights are all equal keeps them (relu(0)^p / 0 in the
    equation).
    """

    info = Info(
        name="softplus",
        summary="l1(relu(N · l1(softplus(log d · log N · q̂·k̂)) − 1)^p) v",
        papers=(207,),
        family="expressive",
        patterns=("self-causal",),
        cost=2,
        decode="cache",
        source="derived",
    )
    Options = Options

    def scores(self, q: Tensor, k: Tensor, view: View) -> Tensor:
        wide = torch.promote_types(q.dtype, torch.float32)
        cosine = F.normalize(q.to(wide), dim=-1) @ F.normalize(k.to(wide), dim=-1).transpose(-1, -2)
        return (math.log(q.shape[-1]) * self.seen(view).to(wide).log() * cosine).to(q.dtype)

    def weights(self, scores: Tensor, view: View) -> Tensor:
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        weights = normalised(view.hide(F.softplus(wide)))
        if self.options.power is not None:
            seen = self.seen(view)
            weights = self.sharpened(weights, seen, weights * seen - (seen > self.options.spared).to(wide.dtype))
        return view.hide(weights).to(scores.dtype)

    def sharpened(self, weights: Tensor, seen: Tensor, excess: Tensor) -> Tensor:
        """l1(relu(excess)^p), computed relative to the largest of a row; rows of equal weights stay as they are."""
        top = excess.detach().amax(dim=-1, keepdim=True)
        flat = top <= 1e-6
        ratio = excess.relu() / top.masked_fill(flat, 1)
        return torch.where(flat, weights, normalised(ratio.masked_fill(flat, 1) ** self.options.power))

    def seen(self, view: View) -> Tensor:
        """How many tokens each query sees, at least 1, [B or 1, 1, Q, 1]."""
        visible = view.visible()
        assert visible is not None
        return visible.sum(dim=-1, keepdim=True).clamp_min(1)


def normalised(weights: Tensor) -> Tensor:
    """Rows divided by their sums; rows of zeros stay."""
    total = weights.sum(dim=-1, keepdim=True)
    return weights / total.masked_fill(total == 0, 1)
