"""Found in the middle: attention to documents as it would be without the bias of their places (paper 190)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saccade.core.edits import QueryRef, Reallocate
from saccade.core.sites import At

from .passages import OrderError, Passages, attention_on, place

if TYPE_CHECKING:
    from saccade.hosts.transformers.attach import TransformersHost


@dataclass(frozen=True, eq=False)
class FoundInTheMiddle:
    r"""Gives each document the share of attention that its relevance earns, wherever it stands.

    Attention to a document at place k is taken for the sum of its relevance and the bias of k. A dummy document at the
    same place shows the bias, so that the relevance, up to a constant, is

    .. math:: r_k = a(x_k, k) - a(x_\text{dummy}, k),

    with a the mean weight on the document's tokens (:func:`~saccade.order.attention_on`). Then the total C of the
    masses :math:`m_k` on the documents is dealt out anew, head by head:

    .. math:: m'_k = \mathrm{softmax}_k(r / t) \cdot C, \qquad C = \sum_k m_k.

    Inside a document the weights keep their proportions, and what lies outside the documents keeps its mass.

    Args:
        dummy: text of a document about nothing.
        temperature: t, in units of mean attention weight; 5e-5 as published, for documents of some hundred tokens. The
            shorter the prompt, the larger the weights and t.
        at: heads that are measured and steered; the paper takes all heads of the last 16 layers.
        queries: query rows that are steered; the last one by default: the one that writes, at every step.

    Source: Hsieh et al., "Found in the Middle: Calibrating Positional Attention Bias Improves Long Context Utilization"
    (paper 190). A row that sees only some of the documents deals their mass among those.

    Raises:
        OrderError: a temperature of 0 or less, or an empty dummy.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> from saccade.zoo.tokenizers import word_tokenizer
        >>> tokenizer = word_tokenizer("rain sun fog what fell nothing".split())
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, vocab_size=len(tokenizer))).eval()
        >>> lm = sc.attach(model, tokenizer)
        >>> batch = [Passages(("rain", "sun", "fog"), lambda texts: f"{' '.join(texts)} what fell")]
        >>> method = FoundInTheMiddle("nothing", temperature=0.01)
        >>> with lm.steer(method.edit(method.relevance(lm, batch))):
        ...     text = lm.generate(sc.order.prompt_of(lm, batch), max_new_tokens=1)
    """

    dummy: str
    temperature: float = 5e-5
    at: At = None
    queries: QueryRef = (-1,)

    def __post_init__(self) -> None:
        if not self.dummy.strip():
            raise OrderError("FoundInTheMiddle needs a dummy document with some text, found an empty one.")
        if not self.temperature > 0:
            raise OrderError(f"FoundInTheMiddle needs a temperature above 0, found {self.temperature}.")

    def bias(self, lm: TransformersHost, batch: Sequence[Passages]) -> Tensor:
        """Attention that the dummy gets at each place, the other documents as they are, ``[B, places]``.

        Takes one forward pass of the batch for each place; NaN where a prompt has fewer.
        """
        found = torch.full((len(batch), max(map(len, batch))), float("nan"))
        for spot in range(found.shape[1]):
            having = [number for number, passages in enumerate(batch) if spot < len(passages)]
            swapped = [self._with_dummy(batch[number], spot) for number in having]
            found[having, spot] = attention_on(lm, swapped, at=self.at)[:, spot].to(found)
        return found

    def relevance(self, lm: TransformersHost, batch: Sequence[Passages], bias: Tensor | None = None) -> Tensor:
        """Calibrated attention of each document, ``[B, places]``; NaN where a prompt has fewer.

        Args:
            lm: an attached model with a tokenizer.
            batch: documents of each prompt.
            bias: what :meth:`bias` found; that of the batch itself by default, which is as published. Its mean over a
                few other prompts, ``[places]``, spares a forward pass for each place.
        """
        received = attention_on(lm, batch, at=self.at)
        return received - (self.bias(lm, batch) if bias is None else bias).to(received)

    def edit(self, relevance: Tensor) -> Reallocate:
        """The edit for prompts whose documents have this relevance ``[B, places]``; for one batch only."""
        share = torch.softmax((relevance / self.temperature).nan_to_num(nan=-torch.inf), dim=-1)
        names = tuple(place(spot) for spot in range(relevance.shape[1]))
        return Reallocate(lambda mass: deal(mass, share), names, self.at, self.queries)

    def _with_dummy(self, passages: Passages, spot: int) -> Passages:
        documents = (*passages.documents[:spot], self.dummy, *passages.documents[spot + 1 :])
        return replace(passages, documents=documents)


def deal(mass: Tensor, share: Tensor) -> Tensor:
    """The total of the masses ``[B, H, Q, S]``, dealt by ``share [B, S]`` among what a row sees.

    Sequences that were multiplied (beams, several samples of a prompt) have the share of their prompt.
    """
    rows = share.to(mass).repeat_interleave(len(mass) // len(share), 0)[:, None, None]
    seen = rows * (mass > 0)
    return seen / seen.sum(-1, keepdim=True).clamp_min(torch.finfo(mass.dtype).tiny) * mass.sum(-1, keepdim=True)
