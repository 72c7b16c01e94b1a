"""Heads that need the long context, told from local keys by second moments (paper 280)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from saccade.core.edits import Rewrite
from saccade.core.sites import At

from .data import prompts
from .headset import HeadError, HeadSet
from .reading import ranking, tiles

if TYPE_CHECKING:
    from saccade.hosts import Host

TINY = 1e-38


@dataclass(frozen=True)
class LongContext:
    """Heads whose queries need more than the first and the last tokens, told from the local keys alone.

    Local keys of a row are its first ``sinks`` and its last ``recent``, itself included; n keys lie between. Were the
    logits of these normal with the mean m and variance v of the recent logits (m = q·μ, v = q·Σq for the mean and
    covariance of the recent keys), they would hold the share

    .. math:: s_h = \\operatorname{mean}_i \\frac{F_i}{F_i + \\sum_{j \\in local} e^{l_{ij}}}, \\qquad
        F_i = n_i \\exp(m_i + v_i / 2)

    of the attention. Rows without keys between do not count. :class:`AdaptiveWindow` acts on the same share.

    Args:
        sinks: first tokens that are always kept.
        recent: last tokens that are kept.

    Source: Donhauser et al., "Unveiling Simplicities of Attention" (paper 280). Differs: moments of the recent keys,
    rotated as they are, and defaults for texts of some hundred tokens.
    """

    sinks: int = 4
    recent: int = 32
    name: ClassVar[str] = "long-context"

    def __post_init__(self) -> None:
        if self.sinks < 0 or self.recent < 2:
            raise HeadError(f"long-context needs sinks >= 0 and recent >= 2, found {self}.")

    def __call__(self, lm: Host, data: Any, *, among: HeadSet | None = None, progress: bool = True) -> HeadSet:
        """Every head of the main stack with its score."""
        read = (
            {layer: expected for layer, (expected, _) in one.items()}
            for prompt in prompts(data)
            for one in self.shares(lm, prompt)
        )
        return ranking(lm, self.name, read, among)

    def shares(self, lm: Host, prompt: Any) -> Iterator[dict[int, tuple[Tensor, Tensor]]]:
        """Expected and true share of the keys between, a tile of rows at a time.

        Yields:
            By layer two tensors ``[R, H]``, for the R real rows of all samples that have such keys.
        """
        real = prompt.attention_mask.bool()
        wanted = real & (real.cumsum(1) > self.sinks + self.recent)
        place = torch.arange(real.shape[1], device=real.device)
        for rows, read in tiles(lm, prompt, wanted):
            visible = (real[:, None] & (place <= rows[:, None]))[:, None]
            found: dict[int, tuple[Tensor, Tensor]] = {}
            for layer, weights in read.items():
                expected, between = self.expected(weights.float().clamp_min(TINY).log(), visible.to(weights.device))
                true = (weights * between).sum(-1)
                counted = wanted[:, rows].to(weights.device)
                found[layer] = expected.transpose(1, 2)[counted], true.transpose(1, 2)[counted]
            yield found

    def expected(self, logits: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Expected share ``[B, H, R]`` of the keys between, and which keys these are ``[B, 1 or H, R, K]``.

        Args:
            logits: rows ``[B, H, R, K]``, up to a constant for each row; only those of local keys are used.
            visible: which keys each row sees, broadcastable to the logits.
        """
        count = visible.sum(-1, keepdim=True)
        rank = visible.cumsum(-1)
        recent = visible & (rank > count - self.recent)
        between = visible & ~recent & (rank > self.sinks)
        number = recent.sum(-1).clamp_min(1)
        mean = logits.masked_fill(~recent, 0.0).sum(-1) / number
        spread = (logits - mean[..., None]).masked_fill(~recent, 0.0).square().sum(-1) / number
        local = logits.masked_fill(~visible | between, float("-inf")).logsumexp(-1)
        return (mean + spread / 2 + between.sum(-1).to(mean).log() - local).sigmoid(), between


@dataclass(frozen=True, eq=False)
class AdaptiveWindow:
    """Each query decides for each head: where it expects little of the keys between, it does not see them.

    Args:
        threshold: least expected share, see :class:`LongContext`, at which a row keeps its whole context.
        criterion: how the share is expected.
        at: the heads; all by default.

    Source: Donhauser et al., "Unveiling Simplicities of Attention" (paper 280), query-adaptive attention; 0.4 there
    reads as a local mass of 0.6. The logits of all keys are computed, so that this shows the effect and saves no time.

    Example:
        >>> window = AdaptiveWindow(0.4, LongContext(sinks=2, recent=16))
        >>> window.edits()[0].on
        'logits'
    """

    threshold: float = 0.4
    criterion: LongContext = LongContext()
    at: At = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise HeadError(f"AdaptiveWindow needs a threshold in [0, 1], found {self.threshold}.")

    def edits(self) -> tuple[Rewrite, ...]:
        """One :class:`~saccade.core.edits.Rewrite` of the logits."""

        def narrow(tile: Tensor, rows: Tensor) -> Tensor:
            visible = ~tile.isneginf()
            expected, between = self.criterion.expected(tile.masked_fill(~visible, 0.0), visible)
            return tile.masked_fill(between & (expected < self.threshold)[..., None], float("-inf"))

        return (Rewrite(narrow, "logits", self.at),)
