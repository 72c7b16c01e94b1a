"""How well a model does on a labelled set, as one number. A score takes ``(lm, data)``; more is better.

A labelled set is a sequence of batches ``(prompt, answers)``: a prompt of :meth:`lm.prompt`, with its spans, and one
answer for each of its samples, as text or as token ids. Answers are tokenised as they stand, without special tokens: a
model that writes a space before a word needs it in the answer too.

The answer is fed to the model token by token while it generates, so that edits, caches, padding and spans are just what
they are in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.errors import HostError

if TYPE_CHECKING:
    from saccade.hosts import Host

Batch = tuple[Any, Sequence[str | Sequence[int]]]
Data = Sequence[Batch]
Score = Callable[["Host", Any], float]


def accuracy(lm: Host, data: Data) -> float:
    """Share of the samples for which greedy decoding writes the answer."""
    return float(hits(lm, data).double().mean())


@torch.no_grad()
def hits(lm: Host, data: Data) -> Tensor:
    """Whether greedy decoding writes the answer, for each sample in the order of the data: boolean ``[samples]``."""
    right = [
        torch.where(inside, logits.argmax(-1) == wanted, True).all(1) for logits, wanted, inside in _read(lm, data)
    ]
    return torch.cat(right)


def likelihood(lm: Host, data: Data) -> float:
    """Mean log-probability of the answers, in nats; finer than :func:`accuracy` on a small set."""
    sums = []
    for logits, wanted, inside in _read(lm, data):
        each = logits.float().log_softmax(-1).gather(-1, wanted[..., None])[..., 0]
        sums.append(each.masked_fill(~inside, 0.0).sum(1))
    return float(torch.cat(sums).double().mean())


def certainty(lm: Host, data: Data) -> float:
    """Minus the mean entropy of the first answer token, in nats; the answers themselves do not count."""
    first = [logits[:, 0].float() for logits, _, _ in _read(lm, [(prompt, [[0]] * len(prompt)) for prompt, _ in data])]
    return -float(torch.cat([torch.special.entr(row.softmax(-1)).sum(-1) for row in first]).double().mean())


def _read(lm: Host, data: Data) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each batch the logits ``[B, T, vocabulary]``, the answers' tokens ``[B, T]``, and which of them are real."""
    if not data:
        raise HostError("a labelled set needs at least one batch (prompt, answers), found none.")
    return [_forced(lm, prompt, answers) for prompt, answers in data]


def _forced(lm: Any, prompt: Any, answers: Sequence[str | Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    if isinstance(answers, str) or len(answers) != len(prompt):
        raise HostError(f"a batch of {len(prompt)} prompt(s) needs as many answers in a list, found {answers!r}.")
    ids = [ids_of(lm, answer) for answer in answers]
    length = max(map(len, ids))
    filler = lm.model.generation_config.pad_token_id or 0
    wanted = torch.tensor([row + [filler] * (length - len(row)) for row in ids], device=lm.model.device)
    inside = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in ids], device=wanted.device)
    start = 1 if lm.encoder_decoder else prompt.input_ids.shape[1]
    out = lm.generate(
        prompt,
        max_new_tokens=length,
        do_sample=False,
        num_beams=1,
        prefix_allowed_tokens_fn=lambda sample, so_far: [int(wanted[sample, len(so_far) - start])],
        output_logits=True,
        return_dict_in_generate=True,
    )
    written = out.sequences[:, start:]
    if written.shape != wanted.shape or not torch.equal(written[inside], wanted[inside]):
        raise HostError(
            "the model's generation settings kept it from writing the answers (forced or suppressed tokens, or an end "
            "token inside an answer); change model.generation_config, or give a score of your own."
        )
    return torch.stack(out.logits, dim=1), wanted, inside


def ids_of(lm: Any, answer: str | Sequence[int]) -> list[int]:
    """Token ids of an answer, without special tokens."""
    if isinstance(answer, str) and lm.tokenizer is None:
        raise HostError("answers in words need a tokenizer: attach with saccade.attach(model, tokenizer), or give ids.")
    ids = lm.tokenizer(answer, add_special_tokens=False)["input_ids"] if isinstance(answer, str) else list(answer)
    if not ids:
        raise HostError(f"an answer needs at least one token, found {answer!r}.")
    return [int(token) for token in ids]
