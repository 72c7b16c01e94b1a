"""AttnRank: the most relevant documents go where the model attends most (paper 288)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saccade.core.sites import At

from .passages import OrderError, Passages, attention_on

if TYPE_CHECKING:
    from saccade.hosts.transformers.attach import TransformersHost


@dataclass(frozen=True, eq=False)
class Basin:
    """A model's preference for places: mean attention of each, from the first to the last.

    Example:
        >>> Basin((0.5, 0.1, 0.4)).orders([[0.2, 0.9, 0.3]])
        [[1, 0, 2]]
    """

    profile: tuple[float, ...]

    def orders(self, relevance: Sequence[Sequence[float]]) -> list[list[int]]:
        """The order for each prompt: its most relevant document at the most attended place, and so on down.

        Args:
            relevance: a number for each document, more is more relevant: a retriever's similarity, say.
        """
        preferred = np.argsort(-np.asarray(self.profile), kind="stable")
        orders = []
        for scores in relevance:
            if len(scores) != len(preferred):
                raise OrderError(
                    f"this profile is of {len(preferred)} places, but a prompt has {len(scores)} documents; profile "
                    "the model on prompts with as many."
                )
            order = np.empty(len(preferred), dtype=int)
            order[preferred] = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
            orders.append(order.tolist())
        return orders


@dataclass(frozen=True, eq=False)
class AttnRank:
    """Measure once which places a model attends to, then reorder every prompt's documents to suit.

    1. On a small calibration set the documents of each prompt are shuffled, and the attention that each place receives
       (:func:`~saccade.order.attention_on`) is averaged: the attention basin, high at both ends.
    2. Documents ranked by relevance (a retriever's, known beforehand) are put on the places ranked by attention. This
       costs no pass of the model.

    Args:
        at: heads whose attention counts; all by default.
        seed: of the shuffles.

    Source: Yi et al., "Attention Basin: Why Contextual Position Matters in Large Language Models" (paper 288).

    Example:
        >>> import saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> from saccade.zoo.tokenizers import word_tokenizer
        >>> tokenizer = word_tokenizer("rain sun fog what fell".split())
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, vocab_size=len(tokenizer))).eval()
        >>> batch = [Passages(("rain", "sun", "fog"), lambda texts: f"{' '.join(texts)} what fell")] * 4
        >>> len(AttnRank().profile(sc.attach(model, tokenizer), batch).profile)
        3
    """

    at: At = None
    seed: int = 0

    def profile(self, lm: TransformersHost, calibration: Sequence[Passages], batch_size: int = 32) -> Basin:
        """The mean attention of each place on prompts with one number of documents."""
        counts = sorted({len(passages) for passages in calibration})
        if len(counts) != 1:
            raise OrderError(f"a profile needs prompts with one number of documents, found {counts or 'no prompts'}.")
        rng = np.random.default_rng(self.seed)
        total = np.zeros(counts[0])
        for start in range(0, len(calibration), batch_size):
            batch = calibration[start : start + batch_size]
            orders = [rng.permutation(counts[0]).tolist() for _ in batch]
            total += attention_on(lm, batch, orders, self.at).double().sum(0).cpu().numpy()
        return Basin(tuple((total / len(calibration)).tolist()))
