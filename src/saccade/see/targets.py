"""What is explained: functions from a model's output to one number for each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

from .trace import Target, Token, run

if TYPE_CHECKING:
    from saccade.hosts import Host


def logit(index: int | Tensor, position: int | Tensor = -1, against: int | Tensor | None = None) -> Target:
    """A logit of ``output.logits`` ``[B, N, V]`` at a position, or of a classifier's ``[B, C]``.

    Args:
        index: the token or class, one for all samples or ``[B]``.
        position: position in the sequence, one for all or ``[B]``; ignored for a classifier.
        against: a token or class whose logit is subtracted.

    Example:
        >>> from types import SimpleNamespace
        >>> output = SimpleNamespace(logits=torch.arange(12.0).view(1, 3, 4))
        >>> logit(2)(output), logit(2, position=0, against=1)(output)
        (tensor([10.]), tensor([1.]))
    """

    def target(output: Any) -> Tensor:
        rows = _at(_logits(output), position)
        every = torch.arange(len(rows), device=rows.device)
        score = rows[every, torch.as_tensor(index, device=rows.device)]
        return score if against is None else score - rows[every, torch.as_tensor(against, device=rows.device)]

    return target


def log_probability(index: int | Tensor, position: int | Tensor = -1) -> Target:
    """The log-probability of a token or class; arguments as for :func:`logit`."""

    def target(output: Any) -> Tensor:
        rows = _at(_logits(output), position).float().log_softmax(-1)
        return rows[torch.arange(len(rows), device=rows.device), torch.as_tensor(index, device=rows.device)]

    return target


def similarity(embedding: Tensor, mask: Tensor) -> Target:
    """Cosine similarity of the mean-pooled last hidden states with embeddings, for sentence encoders.

    Args:
        embedding: ``[B, dim]`` or ``[dim]``.
        mask: real tokens ``[B, N]``.
    """

    def target(output: Any) -> Tensor:
        states, weights = output.last_hidden_state, mask.to(output.last_hidden_state).unsqueeze(-1)
        pooled = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.cosine_similarity(pooled, embedding.to(pooled), dim=-1)

    return target


def predicted(lm: Host, prompt: Any, token: Token, **inputs: Any) -> Target:
    """The largest logit at an output token, as it is without gradients: what an explanation explains by default."""
    if isinstance(token, Tensor):
        raise MeasureError("several output tokens have no one logit: give target=.")
    with torch.no_grad():
        logits = _logits(run(lm, prompt, **inputs))
    if logits.dim() == 2:
        return logit(logits.argmax(-1))
    given = {**(prompt.inputs if prompt is not None else {}), **inputs}
    real = None if lm.encoder_decoder else given.get("attention_mask")
    position = _position(real, token, logits)
    return logit(_at(logits, position).argmax(-1), position)


def _position(real: Tensor | None, token: int, logits: Tensor) -> Tensor:
    batch, length = logits.shape[:2]
    if real is None or real.dim() != 2 or real.shape[1] != length:
        return torch.full((batch,), token % length, device=logits.device)
    order = real.long().cumsum(-1) - 1
    wanted = torch.as_tensor(token, device=real.device) if token >= 0 else real.sum(-1, keepdim=True) + token
    return ((order == wanted) & real.bool()).long().argmax(-1).to(logits.device)


def _logits(output: Any) -> Tensor:
    logits = getattr(output, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() not in (2, 3):
        raise MeasureError("the model's output has no logits [B, N, V] or [B, C]: give target=, from output to [B].")
    return logits


def _at(logits: Tensor, position: int | Tensor) -> Tensor:
    if logits.dim() == 2:
        return logits
    if isinstance(position, int):
        return logits[:, position]
    return logits[torch.arange(len(logits), device=logits.device), position]
