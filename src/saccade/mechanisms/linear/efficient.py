"""Efficient attention: softmax over features and over tokens (paper 285)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.info import Info
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.scored import masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View


@dataclass(frozen=True)
class Options:
    """``normalisation``: "softmax", or "scaling" by 1/√n of queries and keys (no softmax)."""

    normalisation: Literal["softmax", "scaling"] = "softmax"

    def __post_init__(self) -> None:
        if self.normalisation not in ("softmax", "scaling"):
            raise MechanismError(f"normalisation must be 'softmax' or 'scaling', found {self.normalisation!r}")


class Efficient(QKV):
    """O = ρ_q(Q) (ρ_k(K)ᵀ V), where ρ_q is the softmax over the features of a token and ρ_k that over tokens.

    Each feature of the keys is a map of weights over the tokens, each query a mixture of the maps. With "scaling",
    ρ_q(Q) = Q / √n and ρ_k(K) = K / √n for n keys; the softmax was read in the paper's code, "scaling" was not.
    """

    info = Info(
        name="efficient",
        summary="softmax_features(Q) · (softmax_tokens(K)ᵀ V)",
        papers=(285,),
        family="linear",
        patterns=("self", "cross"),
        cost=1,
        decode="none",
        fast="keys times values first",
    )
    Options = Options

    def maps(self, q: Tensor, k: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """ρ_q(Q) and ρ_k(K)."""
        if self.options.normalisation == "softmax":
            tokens = None if view.mask is None else view.mask[:, None, None, :]
            return q.softmax(-1), masked_softmax(k.transpose(-1, -2), tokens).transpose(-1, -2)
        if view.mask is None:
            return q, k / k.shape[-2]
        return q, k / view.mask.sum(-1).clamp_min(1)[:, None, None, None]

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        q, k = self.maps(q, k, view)
        return (q @ k.transpose(-1, -2)) @ v

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        q, k = self.maps(q, k, view)
        return q @ (k.transpose(-1, -2) @ v)
