"""ZeroTuning: turn the attention on the initial token up or down, head by head (paper 332)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.progress import track

from saccade.core.edits import QueryRef, Scale
from saccade.core.errors import EditError
from saccade.core.sites import At
from saccade.heads import HeadSet, accuracy, scan
from saccade.heads.scoring import Data, Score

from .span import SpanNames, names_of, number

if TYPE_CHECKING:
    from saccade.hosts import Host

PROBE = 1.5
GAMMAS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True, eq=False)
class ZeroTuning:
    r"""The attention on the initial token times gamma, renormalised.

    With :math:`a_0` the attention of a row on the initial token (A is ``[B, H, Q, K]``),

    .. math:: a'_0 = \gamma a_0 / D, \qquad a'_j = a_j / D, \qquad D = (\gamma - 1) a_0 + 1.

    All other tokens keep their proportions. ``gamma > 1`` is more attention on the initial token and flattens what
    the other tokens get; ``gamma < 1`` is less and sharpens it. The initial token is an attention sink, so the effect
    is large though the token means nothing.

    Args:
        gamma: the factor, greater than 0; 1 changes nothing. It has no default: it is tuned, by :meth:`tune`.
        span: name of the span of the initial token. ``"bos"`` is in every prompt whose tokenizer writes such a token,
            in a left-padded batch at the first real token of each sample. Any other span can be tuned as well.
        at: the heads; all by default.
        queries: query rows; all by default.

    Source: Han et al., "ZeroTuning: Unlocking the Initial Token's Power to Enhance Large Language Models Without
    Training" (paper 332). Taken from the paper and its code: the equation, the order of the procedure (profile the
    heads, then rescale a selected group), gamma searched on a labelled set, and minimal output entropy as a score that
    needs no labels (:func:`saccade.heads.certainty`). Our own choice, where the sources we had are silent: the factor
    1.5 with which heads are probed, the grid of gamma, one gain for each head of each layer, a head with no gain being
    in neither group, and the larger group being the dominant one.

    Raises:
        EditError: gamma is not greater than 0.

    Example:
        >>> import torch, saccade as sc
        >>> q, k, v = (torch.randn(1, 2, 6, 8) for _ in range(3))
        >>> spans = sc.Spans.from_ranges({"bos": [(0, 1)]}, length=6)
        >>> masses = [sc.Mass(edited=False), sc.Mass()]
        >>> r = sc.attention(q, k, v, spans=spans, edits=[ZeroTuning(1.5)], measures=masses)
        >>> a = r["mass_before"]
        >>> torch.allclose(r["mass"], 1.5 * a / (0.5 * a + 1), atol=1e-6)
        True
    """

    gamma: float
    span: SpanNames = "bos"
    at: At = None
    queries: QueryRef = None

    def __post_init__(self) -> None:
        names_of("ZeroTuning", self.span)
        number("ZeroTuning", "gamma", self.gamma, 0.0, math.inf, "it multiplies the attention on the initial token")

    def edits(self) -> tuple[Scale, ...]:
        """One :class:`~saccade.core.edits.Scale`."""
        return (Scale(names_of("ZeroTuning", self.span), self.gamma, self.at, self.queries),)

    def profile(
        self,
        lm: Host,
        data: Data,
        *,
        score: Score = accuracy,
        among: HeadSet | None = None,
        progress: bool = True,
    ) -> Profile:
        """What more attention on the initial token does in each head alone, with this gamma (which must exceed 1).

        Args:
            lm: an attached model.
            data: a labelled set whose prompts have the span (see :mod:`saccade.heads.scoring`).
            score: ``score(lm, data)``, more is better; :func:`saccade.heads.certainty` needs no labels.
            among: the heads to try; all of the main stack by default.
            progress: show a progress bar.
        """
        if self.gamma <= 1.0:
            raise EditError(f"heads are profiled with more attention, gamma > 1, found gamma={self.gamma}.")
        kind = "ZeroTuning gain"
        gains = scan(lm, data, lambda at: replace(self, at=at), score, among=among, kind=kind, progress=progress)
        return Profile(gains)

    @classmethod
    def tune(
        cls,
        lm: Host,
        data: Data,
        *,
        span: SpanNames = "bos",
        probe: float = PROBE,
        gammas: Sequence[float] = GAMMAS,
        score: Score = accuracy,
        among: HeadSet | None = None,
        progress: bool = True,
    ) -> Tuned:
        """The whole procedure: profile the heads, take the dominant group, search its gamma.

        Takes one pass over the data for each head, one for each gamma, and one more. What it returns was chosen on
        ``data``: judge it on other data.

        Args:
            lm: an attached model.
            data: a labelled set whose prompts have the span.
            span: the span of the initial token.
            probe: gamma with which heads are profiled.
            gammas: the factors to try; the nearest to 1 wins where several score the same.
            score: ``score(lm, data)``, more is better.
            among: the heads to try; all of the main stack by default.
            progress: show a progress bar.

        Raises:
            EditError: no head has any effect on the score.
        """
        if not gammas:
            raise EditError("ZeroTuning.tune needs at least one gamma, found none.")
        profile = cls(probe, span).profile(lm, data, score=score, among=among, progress=progress)
        heads = profile.dominant
        scores = {}
        for gamma in track(gammas, description="ZeroTuning: gamma", disable=not progress):
            with lm.steer(cls(gamma, span, heads)):
                scores[float(gamma)] = score(lm, data)
        best = min(scores, key=lambda gamma: (-scores[gamma], abs(math.log(gamma))))
        return Tuned(cls(best, span, heads), profile, scores)


@dataclass(frozen=True, eq=False)
class Profile:
    """How each head answers to more attention on the initial token.

    Attributes:
        gains: every head, ranked by what the score gains.
    """

    gains: HeadSet

    @property
    def up(self) -> HeadSet:
        """Up-effective heads: more attention on the initial token helps; the most helpful first."""
        return self.gains.above(0.0)

    @property
    def down(self) -> HeadSet:
        """Down-effective heads: more attention on the initial token hurts; the most hurtful first."""
        return self.gains.negated().above(0.0)

    @property
    def dominant(self) -> HeadSet:
        """The larger of the two groups."""
        groups = sorted((self.up, self.down), key=len)
        if not len(groups[1]):
            raise EditError(
                "no head has any effect on the score; use more data, a larger probe, or a finer score such as "
                "saccade.heads.likelihood."
            )
        return groups[1]


@dataclass(frozen=True, eq=False)
class Tuned:
    """What :meth:`ZeroTuning.tune` found.

    Attributes:
        method: the best setting.
        profile: what each head does.
        scores: the score of every gamma that was tried.
    """

    method: ZeroTuning
    profile: Profile
    scores: dict[float, float]
