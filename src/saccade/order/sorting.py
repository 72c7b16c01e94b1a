"""Attention sorting: the documents that are attended to most come last (paper 96)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saccade.core.sites import At

from .passages import OrderError, Passages, attention_on, prompt_of

if TYPE_CHECKING:
    from saccade.hosts.transformers.attach import TransformersHost


@dataclass(frozen=True, eq=False)
class AttentionSorting:
    """Sort documents by the attention that they receive in one step of decoding, the most attended last; repeat.

    Even where a model fails to use a document, it attends to it more than to another one at the same place. Sorting
    carries it, round by round, towards the end, where a model with a recency bias makes use of it.

    Args:
        rounds: times to sort; each costs one forward pass.
        at: heads whose attention counts (see :func:`~saccade.order.attention_on`); all by default, as published.

    Source: Peysakhovich and Lerer, "Attention Sorting Combats Recency Bias In Long Context Language Models" (paper 96).
    The mean over the tokens of a document makes short and long ones comparable.

    Raises:
        OrderError: fewer than one round.

    Example:
        >>> import saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> from saccade.zoo.tokenizers import word_tokenizer
        >>> tokenizer = word_tokenizer("rain sun fog what fell".split())
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, vocab_size=len(tokenizer))).eval()
        >>> lm = sc.attach(model, tokenizer)
        >>> batch = [Passages(("rain", "sun", "fog"), lambda texts: f"{' '.join(texts)} what fell")]
        >>> sorted(AttentionSorting(rounds=2).orders(lm, batch)[0])
        [0, 1, 2]
    """

    rounds: int = 1
    at: At = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise OrderError(f"AttentionSorting needs at least one round, found {self.rounds}.")

    def orders(self, lm: TransformersHost, batch: Sequence[Passages]) -> list[list[int]]:
        """The order that each prompt's documents end up in."""
        orders = [list(range(len(passages))) for passages in batch]
        for _ in range(self.rounds):
            received = attention_on(lm, batch, orders, self.at).tolist()
            orders = [
                [order[place] for place in sorted(range(len(order)), key=row.__getitem__)]
                for order, row in zip(orders, received, strict=True)
            ]
        return orders

    def prompt(self, lm: TransformersHost, batch: Sequence[Passages]) -> Any:
        """The prompts with their documents sorted."""
        return prompt_of(lm, batch, self.orders(lm, batch))
