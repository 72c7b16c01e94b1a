"""Cog attention: weights that may be negative (paper 47)."""

from __future__ import annotations

from torch import Tensor

from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.scored import Scored
from saccade.mechanisms.view import View


class Cog(Scored):
    """out = sign(S) ⊙ softmax(|S|) v, with S = q·k / √d.

    The magnitudes of a row add up to one, the signs say copy or delete. The mask hides |S|. In the paper the first and
    the last layer of a model keep softmax; that is a choice of layers, not part of the operator.
    """

    info = Info(
        name="cog",
        summary="sign(S) ⊙ softmax(|S|) v",
        papers=(47,),
        family="expressive",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
    )

    def weights(self, scores: Tensor, view: View) -> Tensor:
        return scores.sign() * super().weights(scores.abs(), view)
