"""[363] From the prior to the context in one layer, and several heads that write the answer side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, labelled
from saccade.heads.scoring import ids_of
from saccade.heads.writing import AnswerWriting
from saccade.repro.claims.head.shared import BATCH, mean_over, pairs, right, written
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop
from saccade.tasks import Example, world

WRITERS, DRAWS = 0.15, 2
JUMP, LATER, MORE, KEPT = 0.5, 1.0, 0.3, -0.05


def batches(examples: list[Example]) -> list[list[Example]]:
    """Groups of one length each or of several, padded."""
    ordered = sorted(examples, key=lambda one: sum(map(len, one.contents)))
    return [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]


@torch.no_grad()
def sides(lm: Any, examples: list[Example]) -> Tensor:
    """Whether the last token favours the document's value over the known one after each layer: ``[samples, layers]``.

    The residual stream is read through the final norm and the unembedding.
    """
    found = []
    for group in batches(examples):
        states: Any = lm(lm.prompt([one.messages for one in group]), output_hidden_states=True).hidden_states
        told, known = (
            torch.tensor([ids_of(lm, one.meta[name])[0] for one in group]) for name in ("context_value", "memory_value")
        )
        rows = []
        for number, state in enumerate(states[1:], start=1):
            last = state[:, -1] if number == len(states) - 1 else lm.model.model.norm(state[:, -1])
            logits = lm.model.lm_head(last)
            rows.append(logits.gather(1, told[:, None]) > logits.gather(1, known[:, None]))
        found.append(torch.cat(rows, 1))
    return torch.cat(found).double()


def effects(lm: Any, examples: list[Example]) -> Tensor:
    """Direct effect of each head on the document's value minus that on the known one: ``[samples, layers, heads]``."""
    found = []
    for group in batches(examples):
        prompt = lm.prompt([one.messages for one in group])
        told, known = (
            AnswerWriting().effects(lm, (prompt, [one.meta[name] for one in group]))
            for name in ("context_value", "memory_value")
        )
        found.append(torch.stack([told[layer] - known[layer] for layer in sorted(told)], 1))
    return torch.cat(found)


@claim(
    363,
    "where a document contradicts the weights, one layer moves half of the prompts from the known value to the "
    "document's; the heads that write the latter stand there or later, none of them is needed alone, and without the "
    "15 % of heads that write most answers fall by 30 points more than without random heads of the same layers",
    uses=("saccade.heads.writing", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a document of six facts, one of which contradicts a fact that the model knows by
    heart, and a question that asks for the document's.

    The layer and the heads are chosen on other documents. The paper's model reasons in several steps and has its answer
    in two places; here a step is one question, and parallel are the heads that copy its answer.
    """
    choosing, measuring, draws = (24, 40, 1) if quick else (40, 80, DRAWS)
    with sc.attach(*zoo.load("reader")) as lm:
        held = world.Conflict(facts=6, cue="context", seed=10_000 + seed).examples(choosing)
        fresh = world.Conflict(facts=6, cue="context", seed=20_000 + seed).examples(measuring)
        course = sides(lm, held).mean(0)
        rift = 1 + int((course[1:] - course[:-1]).argmax())
        found = HeadSet.from_scores(effects(lm, held).mean(0), "answer-writing")
        heads = found.top(WRITERS)
        sided, direct = sides(lm, fresh), effects(lm, fresh).sum(-1)
        data = labelled(lm, fresh, batch=BATCH)
        plain, alone, without = right(lm, data), right(lm, data, heads.top(1)), right(lm, data, heads)
        random = [right(lm, data, HeadSet.random(found, heads, number, by_layer=True)) for number in range(draws)]
    written_at: Units = torch.stack([direct[:, :rift].sum(1), direct[:, rift:].sum(1)], 1).double().numpy()
    return Result(
        Comparison(
            "prompts whose last token favours the document's value: before and after one layer",
            sided[:, rift - 1 : rift + 1].numpy(),
            JUMP,
        ),
        (
            Comparison(
                "nats that heads write for the document's value: before that layer, from it on", written_at, LATER
            ),
            Comparison("answers: the best answer-writing head ablated", pairs(plain, alone), KEPT),
            Comparison(
                "answers: random heads of the same layers or answer-writing heads ablated",
                pairs(mean_over(random), without),
                MORE,
                drop,
            ),
        ),
        {
            "layer": rift,
            "share on the document's side after each layer": np.round(sided.mean(0).numpy(), 3).tolist(),
            "heads": written(found),
            "answers whole, without one, without all": [round(float(x.mean()), 3) for x in (plain, alone, without)],
            "answers by random draw": [round(float(one.mean()), 3) for one in random],
        },
    )
