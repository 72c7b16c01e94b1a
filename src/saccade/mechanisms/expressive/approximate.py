"""Attention with a Taylor polynomial for the exponential, "Approximate" of paper 399."""

from __future__ import annotations

import math

from torch import Tensor

from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.linear.kernel import Chunked, Kernel, taylor, taylor_features
from saccade.mechanisms.view import View


class Approximate(Kernel):
    """out_i = Σ_j p(S_ij) v_j / Σ_j p(S_ij), with p(S) = 1 + S + S²/2 and S = q·k / √d (eq. 6).

    One of the paper's relaxations: the form of similarity and normalisation stays, the exponential goes. "based" has
    the same polynomial on narrower queries and keys.
    """

    info = Info(
        name="approximate",
        summary="1 + S + S²/2 with S = q·k / √d in place of exp(S)",
        papers=(399,),
        family="expressive",
        patterns=PATTERNS,
        cost=1,
        decode="recurrent",
        fast="the polynomial as a product of features, summed over keys first",
    )
    trial = Chunked(chunk=4)

    def features(self, q: Tensor, k: Tensor, view: View) -> tuple[Tensor, Tensor]:
        return taylor_features(q / math.sqrt(q.shape[-1]), 2), taylor_features(k, 2)

    def similarity(self, q: Tensor, k: Tensor, view: View) -> Tensor:
        return taylor(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), 2)
