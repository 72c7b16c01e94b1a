"""[63] Two tasks that copy from a document use the same heads, and four of these repair the one that fails."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.core.measures import Mass
from saccade.heads import HeadSet, hits, labelled
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import path_patching, targets
from saccade.see.circuits import Repair, reuse
from saccade.tasks import Task, world
from saccade.tasks.world.facts import RELATIONS
from saccade.tasks.world.lexicon import lexicon

from .facts import first_token, reader

TOP, CIRCUIT, REPAIRED = 6, 8, 4
BAR, BEYOND, BAR_REPAIR, BEYOND_RANDOM = 0.5, 0.3, 0.15, 0.15


@claim(
    63,
    "of the six heads that reading a fact needs most, half or more are among the six that reading against the weights "
    "needs, 30 points more than arithmetic shares; making four of them look at the value repairs these by 15 points",
    uses=("saccade.see.circuits", "saccade.see.patching", "saccade.heads", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`: facts from a document; facts from a document that contradicts the weights; sums.

    Circuits are found by path patching to the logits, the answer in the document (or the sum) being replaced by
    another; there a unit is an example of each task. The repair is a unit's own: whether the document's value is
    said, with the heads' attention of the last position on it. Repaired are, of the eight heads that plain reading
    needs most, the four whose attention to the value falls most from plain reading to reading against the weights, on
    other examples. Random heads are of any layer.
    """
    choosing, measuring, draws = (8, 150, 2) if quick else (24, 300, 4)
    lm = reader()
    facts = {"facts": 4, "seed": 63_000 + seed}
    scores = {
        "reading": patched(lm, world.Context(**facts), choosing),
        "against the weights": patched(lm, world.Conflict(wanted="context", **facts), choosing),
        "arithmetic": patched(lm, world.Arithmetic(difficulty=2, seed=63_000 + seed), choosing),
    }
    shared = {
        name: reuse(scores["reading"], scores[name], TOP).numpy() for name in ("against the weights", "arithmetic")
    }
    mean = scores["reading"].median(-1).values
    ranked = HeadSet([(layer, head, float(x)) for layer, row in enumerate(mean) for head, x in enumerate(row)])
    away = looks(lm, world.Context(**facts), choosing) - looks(lm, world.Conflict(wanted="context", **facts), choosing)
    heads = HeadSet([(*one.place, float(away[one.place])) for one in ranked.top(CIRCUIT)]).top(REPAIRED)
    fresh = labelled(lm, world.Conflict(wanted="context", facts=4, seed=65_000 + seed).examples(measuring), "value")

    def said(chosen: HeadSet | None) -> Any:
        if chosen is None:
            return hits(lm, fresh).double().numpy()
        found = []
        for batch in fresh:
            with lm.steer(Repair(chosen, "value")):
                found.append(hits(lm, [batch]).double().numpy())
        return np.concatenate(found)

    plain, repaired = said(None), said(heads)
    random_heads = [HeadSet.random(ranked, heads, number) for number in range(draws)]
    elsewhere = [said(some) for some in random_heads]
    chance = np.full(len(shared["arithmetic"]), TOP / len(ranked))
    return Result(
        Comparison(
            "share of the heads that both tasks of reading need, against chance",
            np.stack([chance, shared["against the weights"]], 1),
            BAR - TOP / len(ranked),
        ),
        (
            Comparison(
                "the same, against the share that arithmetic and reading both need",
                np.stack([shared["arithmetic"], shared["against the weights"]], 1),
                BEYOND,
            ),
            Comparison(
                "accuracy against the weights: before and after repair", np.stack([plain, repaired], 1), BAR_REPAIR
            ),
            Comparison(
                "accuracy against the weights: random heads made to look there, against these",
                np.stack([np.mean(elsewhere, 0), repaired], 1),
                BEYOND_RANDOM,
            ),
        ),
        {
            "repaired, with the fall of attention": [f"{head} {head.score:.2f}" for head in heads],
            "circuits": {name: top_of(one.median(-1).values) for name, one in scores.items()},
            "random heads, by draw": [round(float(one.mean()), 3) for one in elsewhere],
        },
    )


def patched(lm: Any, task: Task, count: int) -> Tensor:
    """What each head sends to the logits, by example ``[L, H, B]``; the corrupt prompt has another answer."""
    rng = random.Random(63)
    clean, corrupt, answers, others = [], [], [], []
    for example in task.examples(count):
        if task.name == world.Arithmetic.name:
            (a, b), sign = example.meta["operands"], example.meta["operator"]
            new = rng.choice([x for x in range(11) if x != b and (sign == "plus" or x <= a)] or [b + 1])
            texts = [f"what is {a} {sign} {new}?"]
            other = str(a + new if sign == "plus" else abs(a - new))
        else:
            kind = next(k for k in RELATIONS.values() if example.answer in lexicon().values(k))
            there = " ".join(example.contents).split()
            other = rng.choice(
                [word for word in lexicon().values(kind) if word not in there and f"{word}." not in there]
            )
            texts = [text.replace(f" {example.answer}", f" {other}") for text in example.contents]
        clean.append(example.messages)
        corrupt.append([{**turn, "content": text} for turn, text in zip(example.messages, texts, strict=True)])
        answers.append(first_token(lm, example.answer))
        others.append(first_token(lm, other))
    made = [dict(written(lm, chats)) for chats in (clean, corrupt)]
    return path_patching(lm, *made, targets.logit(torch.tensor(answers), against=torch.tensor(others)))


@torch.no_grad()
def looks(lm: Any, task: Task, count: int) -> Tensor:
    """Attention of the last position to the value in the document, mean over examples ``[L, H]``."""
    found = []
    for prompt, _ in labelled(lm, task.examples(count), "value"):
        with lm.watch(Mass()) as seen:
            lm(prompt)
        found.append(seen["mass"].stack()[..., -1, 0].mean(1))
    return torch.stack(found).mean(0)


def written(lm: Any, chats: Any) -> Any:
    """Conversations as inputs, padded on the left."""
    return lm.tokenizer.apply_chat_template(
        chats,
        add_generation_prompt=True,
        padding=True,
        padding_side="left",
        return_tensors="pt",
        return_dict=True,
    )


def top_of(scores: Tensor) -> list[str]:
    """The heads of a circuit, the best first."""
    best = scores.flatten().topk(TOP)
    width = scores.shape[1]
    return [
        f"L{i // width}H{i % width} {x:.2f}" for i, x in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
