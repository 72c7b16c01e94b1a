"""[94, 186] What flows into a token through all layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saccade.see.paths import Paths, paths
from saccade.see.relevance import Relevance
from saccade.see.rollout import Rollout

from .base import Array, ViewError, check_queries, tokens_of

if TYPE_CHECKING:
    from saccade.hosts import Host
    from saccade.prompt import Prompt

FLOWS: dict[str, Rollout | Relevance] = {"rollout": Rollout(), "relevance": Relevance()}
MOST = 24
"""Tokens of a diagram."""


def rollout_of(lm: Host, prompt: Prompt, query: int) -> Array:
    """Share of each input token in one output token, ``[N]`` float32: attention rollout, heads averaged.

    No matrix is formed: see :class:`saccade.see.rollout.Rollout`.

    Raises:
        ViewError: several prompts, padding, a token that there is not, or an encoder-decoder, whose output tokens are
            not those of the prompt.
    """
    _check(lm, prompt, query)
    shares: Array = Rollout().explain(lm, prompt, token=query)[0].float().cpu().numpy()
    return shares


def paths_of(lm: Host, prompt: Prompt, query: int, by: str = "rollout") -> Paths:
    """The paths into one output token, by ``"rollout"`` or by ``"relevance"`` of its largest logit.

    Raises:
        ViewError: as :func:`rollout_of`, or another ``by``.
        MeasureError: relevance of a model without logits.
    """
    _check(lm, prompt, query)
    if by not in FLOWS:
        raise ViewError(f"paths are drawn by {' or '.join(FLOWS)}; found {by!r}.")
    return paths(lm, prompt, token=query, by=FLOWS[by], most=MOST)


def _check(lm: Host, prompt: Prompt, query: int) -> None:
    check_queries([query], len(tokens_of(prompt)))
    if lm.encoder_decoder:
        raise ViewError("the output tokens of an encoder-decoder are not the prompt's; call saccade.see.Rollout.")
