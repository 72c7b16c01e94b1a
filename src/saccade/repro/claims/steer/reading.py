"""Questions about many documents, and a model's answers with the documents in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.order import Passages, prompt_of
from saccade.tasks import world

BATCH = 16


@dataclass(frozen=True)
class Question:
    """A question, its documents, which of them answers it, and the answer."""

    text: str
    documents: tuple[str, ...]
    gold: int
    answer: str

    def passages(self, at: int | None = None) -> Passages:
        """The documents, the one that answers moved to a place."""
        documents = list(self.documents)
        if at is not None:
            documents.insert(at, documents.pop(self.gold))
        return Passages(tuple(documents), self.prompt)

    def prompt(self, texts: Sequence[str]) -> list[dict[str, str]]:
        """The chat that asks the question."""
        numbered = " ".join(f"document {number}: {text}" for number, text in enumerate(texts, 1))
        return [{"role": "user", "content": f"{numbered} {self.text}"}]

    @property
    def overlap(self) -> list[int]:
        """How many words of the question each document has: a plain retriever's score."""
        words = set(re.findall(r"\w+", self.text))
        return [len(words & set(re.findall(r"\w+", document))) for document in self.documents]


def questions(count: int, documents: int, seed: int) -> list[Question]:
    """Questions of ``world/documents``, three facts a document."""
    found = []
    for example in world.Documents(facts=3 * documents, seed=seed).examples(count):
        (content,), (gold,), (question,) = example.contents, example.texts("gold"), example.texts("question")
        texts = re.split(r"\s*document \d+: ", content.removesuffix(question).rstrip())[1:]
        own = next(number for number, text in enumerate(texts) if gold in text)
        found.append(Question(question, tuple(texts), own, example.answer))
    return found


def batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    """The items, a few at a time."""
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def right(
    lm: Any, asked: Sequence[Question], batch: Sequence[Passages], orders: Sequence[Sequence[int]] | None = None
) -> NDArray[np.float64]:
    """Whether each greedy answer is the right one, 1 or 0."""
    replies: list[str] = []
    for part in batches(range(len(batch))):
        prompt = prompt_of(lm, [batch[i] for i in part], None if orders is None else [orders[i] for i in part])
        made = lm.generate(prompt, max_new_tokens=2, do_sample=False)
        replies += [made] if isinstance(made, str) else made
    return np.array([reply == each.answer for reply, each in zip(replies, asked, strict=True)], dtype=float)
