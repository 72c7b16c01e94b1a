"""[94] What flows into a token through all layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saccade.see.rollout import Rollout

from .base import Array, ViewError, check_queries, tokens_of

if TYPE_CHECKING:
    from saccade.hosts import Host
    from saccade.prompt import Prompt


def rollout_of(lm: Host, prompt: Prompt, query: int) -> Array:
    """Share of each input token in one output token, ``[N]`` float32: attention rollout, heads averaged.

    No matrix is formed: see :class:`saccade.see.rollout.Rollout`.

    Raises:
        ViewError: several prompts, padding, a token that there is not, or an encoder-decoder, whose output tokens are
            not those of the prompt.
    """
    check_queries([query], len(tokens_of(prompt)))
    if lm.encoder_decoder:
        raise ViewError("the output tokens of an encoder-decoder are not the prompt's; call saccade.see.Rollout.")
    shares: Array = Rollout().explain(lm, prompt, token=query)[0].float().cpu().numpy()
    return shares
