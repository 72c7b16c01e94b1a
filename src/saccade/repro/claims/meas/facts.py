"""Questions to the model `reader` that its weights answer, for claims about recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import saccade as sc
from saccade import zoo


def reader() -> Any:
    """The model, attached, with its tokenizer."""
    model, tokenizer = zoo.load("reader")
    return sc.attach(model, tokenizer)


def first_token(lm: Any, word: str) -> int:
    """Id of the first token of a word."""
    found: int = lm.tokenizer(word)["input_ids"][0]
    return found


def asked(lm: Any, questions: Sequence[str], begun: Sequence[str] | None = None) -> Tensor:
    """Token ids ``[B, N]`` of questions of one length through the chat template, with the beginning of a reply."""
    rows = []
    for question, reply in zip(questions, begun or [""] * len(questions), strict=True):
        chat = [{"role": "user", "content": question}]
        made = lm.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        rows.append(made + (lm.tokenizer(reply)["input_ids"] if reply else []))
    return torch.tensor(rows)
