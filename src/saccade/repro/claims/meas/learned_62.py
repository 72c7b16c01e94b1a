"""[62] A lens learned for a head reads from it what the model is about to say, where the unembedding does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see.learned_lens import AttentionLens, HeadOutputs, LearnedLens, outputs_at
from saccade.tasks import world

from .facts import reader

QUESTIONS, RATE = 4, 0.02
BAR, BAR_KNOWN, BAR_OWN, BAR_ACCURACY = 0.5, 0.2, 0.2, 0.05
"""Nats by which a lens has to be nearer to the model than the unembedding, than a lens that is told nothing of the
head, and than the lens of another head; and of accuracy."""


@claim(
    62,
    "a lens trained for each head foretells what the model says from the head's output better than the unembedding "
    "does, "
    "better than a lens trained on shuffled outputs, and better than the lens of another head",
    uses=("saccade.see.learned_lens", "saccade.see.lens", "saccade.see.writers", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`, documents of four facts with a question about each; a unit is a fresh document, mean over
    the first tokens of its answers and all heads.

    Lenses are trained on other documents. Distance is KL(model || lens); accuracy is how often the lens's first token
    is the model's. The lens of another head is that of the next head in the layer.
    """
    teaching, measuring, steps = (80, 30, 40) if quick else (200, 60, 120)
    lm = reader()
    teach, fresh = seen(lm, teaching, 62_000 + seed), seen(lm, measuring, 64_000 + seed)
    plain = AttentionLens(steps=0).fit(lm, teach)
    order = torch.randperm(len(teach.values), generator=torch.Generator().manual_seed(seed))
    learned = AttentionLens(steps, RATE, seed=seed).fit(lm, teach)
    blind = AttentionLens(steps, RATE, seed=seed).fit(lm, HeadOutputs(teach.values[order], teach.logits))
    other = LearnedLens(learned.weight.roll(1, 1), learned.bias.roll(1, 1))
    far = {
        name: by_document(lens.divergence(fresh).mean((1, 2)), measuring)
        for name, lens in (("plain", plain), ("learned", learned), ("blind", blind), ("other", other))
    }
    said = fresh.logits.argmax(-1)[:, None, None]
    hit = {
        name: (lens.logits(fresh.values).argmax(-1) == said).double()
        for name, lens in (("plain", plain), ("learned", learned))
    }

    def against(name: str, bar: float, what: str) -> Comparison:
        return Comparison(
            f"distance from the model in nats: {what} against learned lens",
            np.stack([far[name], far["learned"]], 1),
            bar,
            drop,
        )

    return Result(
        against("plain", BAR, "unembedding"),
        (
            against("blind", BAR_KNOWN, "lens learned from shuffled outputs"),
            against("other", BAR_OWN, "lens of another head"),
            Comparison(
                "accuracy: unembedding against learned lens",
                np.stack([by_document(hit[name].mean((1, 2)), measuring) for name in ("plain", "learned")], 1),
                BAR_ACCURACY,
            ),
        ),
        {
            "accuracy by layer and head": {
                name: [[round(x, 3) for x in row] for row in one.mean(0).tolist()] for name, one in hit.items()
            },
        },
    )


def seen(lm: Any, count: int, seed: int) -> HeadOutputs:
    """Head outputs where each answer is about to begin."""
    task = world.Context(facts=QUESTIONS, questions=QUESTIONS, seed=seed)
    chats = [[{"role": turn.role, "content": turn.content} for turn in task.conversation(i)] for i in range(count)]
    made = lm.tokenizer.apply_chat_template(
        chats, padding=True, padding_side="right", return_tensors="pt", return_dict=True
    )
    begins = made["input_ids"] == lm.tokenizer.convert_tokens_to_ids("<|assistant|>")
    return outputs_at(lm, begins, input_ids=made["input_ids"], attention_mask=made["attention_mask"])


def by_document(values: Any, count: int) -> Any:
    """Means of each document."""
    return values.double().view(count, -1).mean(1).numpy()
