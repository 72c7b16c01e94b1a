"""Replies of a model to examples, in batches, and how many are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from saccade.tasks import Example, Task


@torch.no_grad()
def replies(
    model: Any, tokenizer: Any, examples: Sequence[Example], max_new_tokens: int = 8, batch: int = 32
) -> list[str]:
    """Greedy replies through the chat template, batched with left padding, longest first."""
    order = sorted(range(len(examples)), key=lambda i: -sum(map(len, examples[i].contents)))
    out = [""] * len(examples)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        inputs = tokenizer.apply_chat_template(
            [examples[i].messages for i in chosen],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        ).to(model.device)
        made = model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        texts = tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(chosen, texts, strict=True):
            out[i] = text
    return out


def accuracy(model: Any, tokenizer: Any, task: Task, count: int = 200, start: int = 0, batch: int = 32) -> float:
    """Share of examples `start` to `start + count` whose greedy reply the task's checker accepts."""
    examples = task.examples(count, start)
    longest = max(len(tokenizer(e.answer)["input_ids"]) for e in examples) + 1
    made = replies(model, tokenizer, examples, longest, batch)
    return sum(task.check(e, r) for e, r in zip(examples, made, strict=True)) / count
