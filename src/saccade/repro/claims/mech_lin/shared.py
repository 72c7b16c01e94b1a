"""What claims about linear attention share: the plain kernel, hosts for any mechanism; counted work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import Info, Mechanism, View, mechanism
from saccade.mechanisms.info import PATTERNS
from saccade.mechanisms.linear.kernel import Chunked, Kernel
from saccade.repro.claims.mech_pos.shared import USES as TRAINING
from saccade.repro.claims.mech_pos.shared import Make
from saccade.repro.host import Host, Mixer, Sizes
from saccade.testing import counted

USES = (*TRAINING, "saccade.repro.claims.mech_lin.shared", "saccade.mechanisms.linear.kernel")

FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": lambda x: F.elu(x) + 1,
    "relu": lambda x: F.relu(x) + 1e-6,
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
}


@dataclass(frozen=True)
class PlainOptions(Chunked):
    """``feature``: φ by element, a key of ``FEATURES``."""

    feature: str = "elu"


class Plain(Kernel):
    """o_i = Σ_j φ(q_i)·φ(k_j) v_j / Σ_j φ(q_i)·φ(k_j) with a fixed φ: linear attention without refinements."""

    info = Info(
        name="plain",
        summary="φ(q)·φ(k) with a fixed φ",
        papers=(),
        family="linear",
        patterns=PATTERNS,
        cost=1,
        decode="recurrent",
        fast="features summed over keys first",
    )
    Options = PlainOptions

    def features(self, q: Tensor, k: Tensor, view: View) -> tuple[Tensor, Tensor]:
        feature = FEATURES[self.options.feature]
        return feature(q), feature(k)


class Placed(Host):
    """A host of any mechanism; embeddings have a learned vector for each of ``length`` places added."""

    def __init__(self, sizes: Sizes, kind: str | type[Mechanism], length: int, **options: Any) -> None:
        super().__init__(sizes, Mixer("softmax", None))
        for block in self.blocks:
            block.mix = mechanism(kind, sizes.dim, sizes.heads, **options)
        self.places = nn.Parameter(torch.randn(length, sizes.dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N] -> logits [B,N,vocabulary]."""
        x = self.embed(tokens) + self.places[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def placed(sizes: Sizes, kind: str | type[Mechanism], length: int, **options: Any) -> Make:
    """How to build a ``Placed``."""
    return partial(Placed, sizes, kind, length, **options)


def work(run: Callable[[], Any]) -> list[float]:
    """Operations and bytes of one call, as counted."""
    count = counted(run)
    return [float(count.flops), float(count.bytes)]
