"""[129] A twentieth of the heads do arithmetic, and tuning only these makes it better."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, ZeroAblation, tuning
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop
from saccade.see import path_patching, targets, trace
from saccade.tasks.world.facts import stable_facts

from .shared import mean_over, pairs, written

TOP, WIDER, SHARE = 20, 25, 0.05
OPERANDS = [4, 5, 6]
"""Places of both numbers and the sign in ``<s> <|user|> what is A plus B ? <|end|> <|assistant|>``."""
LOST, BEYOND, LOOK, BETTER, ELSEWHERE = 0.5, 0.3, 0.3, 0.02, -0.02
RATE = 3e-3
Sum = tuple[int, str, int]


def every(top: int) -> list[Sum]:
    """All sums and differences of numbers up to ``top``, but those that come to more than the model ever read."""
    numbers = range(top + 1)
    drawn = [(a, sign, b) for a in numbers for b in numbers for sign in ("plus", "minus")]
    return [one for one in drawn if 0 <= value(one) <= 2 * TOP]


def value(one: Sum) -> int:
    """What it comes to."""
    a, sign, b = one
    return a + b if sign == "plus" else a - b


def asked(lm: Any, questions: Sequence[str], answers: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids of questions of one length ``[B, N]``, and the first token of each answer ``[B]``."""
    chats = [[{"role": "user", "content": question}] for question in questions]
    ids = lm.tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_dict=True)["input_ids"]
    return torch.tensor(ids), torch.tensor([lm.tokenizer(answer)["input_ids"][0] for answer in answers])


def sums(lm: Any, drawn: Sequence[Sum]) -> tuple[Tensor, Tensor]:
    """The same for sums."""
    return asked(lm, [f"what is {a} {sign} {b}?" for a, sign, b in drawn], [str(value(one)) for one in drawn])


@torch.no_grad()
def right(lm: Any, data: tuple[Tensor, Tensor], without: HeadSet | None = None) -> Units:
    """Whether each answer is right, 0 or 1, with some heads at zero."""
    if without is not None:
        with lm.steer(ZeroAblation(without)):
            return right(lm, data)
    found: Units = (lm(input_ids=data[0]).logits[:, -1].argmax(-1) == data[1]).double().numpy()
    return found


def arithmetic_heads(lm: Any, drawn: Sequence[Sum], seed: int) -> HeadSet:
    """All heads by what they send directly to the answer, when the sum is replaced by another one."""
    rng = random.Random(seed)
    others = [rng.choice([one for one in drawn if value(one) != value(own)]) for own in drawn]
    (clean, answer), (corrupt, other) = sums(lm, drawn), sums(lm, others)
    target = targets.logit(answer, against=other)
    scores = path_patching(lm, {"input_ids": clean}, {"input_ids": corrupt}, target).median(-1).values
    return HeadSet(
        [(layer, head, float(score)) for layer, row in enumerate(scores) for head, score in enumerate(row)],
        "arithmetic",
    )


def tuned(model: Any, heads: HeadSet, data: tuple[Tensor, Tensor], steps: int, batch: int, seed: int) -> Any:
    """A copy of the model, attached, of which only these heads have learned."""
    lm = sc.attach(copy.deepcopy(model))
    draw = torch.Generator().manual_seed(seed)
    with tuning(lm, heads) as parameters:
        optimiser = torch.optim.Adam(parameters, lr=RATE)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - step / steps)
            rows = torch.randperm(len(data[1]), generator=draw)[:batch]
            loss = F.cross_entropy(lm.model(input_ids=data[0][rows]).logits[:, -1], data[1][rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return lm


@claim(
    129,
    "ablating the twentieth of the heads that path patching finds costs 50 points of arithmetic, 30 more than random "
    "heads of the same layers; these heads look at operands and operator; tuning only them on other sums raises "
    "accuracy by 2 points and leaves facts as they are",
    uses=("saccade.heads", "saccade.see.patching", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a sum or difference, or a fact.

    Heads are chosen on some sums of numbers up to 20, as the model has learned them, and ablated on all others. What
    is tuned are sums of numbers up to 25, where there is something to win: in two halves, one of which tunes while
    the other measures, in the full form then the other way round. (With numbers up to 20, tuning won 3 points on 306
    sums, with an interval from -1 to 8; with heads chosen on 24 sums, the second of them was another one, and tuning
    won nothing.) Attention is that of the last position. Facts are all that the weights hold. The details tell what
    tuning as many random heads does.
    """
    choosing, steps, batch, draws, folds = (40, 50, 64, 1, 1) if quick else (96, 60, 64, 3, 2)
    rng = random.Random(f"129/fresh/{seed}")
    drawn, wider = (rng.sample(some, len(some)) for some in (every(TOP), every(WIDER)))
    model, tokenizer = zoo.load("reader")
    with sc.attach(model, tokenizer) as lm:
        ranked = arithmetic_heads(lm, drawn[:choosing], seed)
        heads = ranked.top(SHARE)
        fresh = sums(lm, drawn[choosing:])
        halves = [sums(lm, wider[::2]), sums(lm, wider[1::2])]
        facts = asked(lm, [fact.question for fact in stable_facts()], [fact.value for fact in stable_facts()])
        plain, without, known = right(lm, fresh), right(lm, fresh, heads), right(lm, facts)
        controls = [HeadSet.random(ranked, heads, number, by_layer=True) for number in range(draws)]
        random_lost = [right(lm, fresh, some) for some in controls]
        seen = trace(lm, input_ids=fresh[0]).stack()
    looks = np.stack([step.rows([-1])[:, :, 0, OPERANDS].sum(-1).double().numpy() for step in seen], 1)
    chosen = np.zeros(looks.shape[1:], dtype=bool)
    for head in heads:
        chosen[head.layer, head.head] = True
    before, after, after_facts = [], [], []
    elsewhere: list[Units] = []
    for teach, measure in list(zip(halves, halves[::-1], strict=True))[:folds]:
        better = tuned(model, heads, teach, steps, batch, seed)
        before.append(right(sc.attach(model), measure))
        after.append(right(better, measure))
        after_facts.append(right(better, facts))
        if not quick and not elsewhere:
            elsewhere.append(right(tuned(model, controls[0], teach, steps, batch, seed), measure))
    return Result(
        Comparison("accuracy of arithmetic: whole model against its heads ablated", pairs(plain, without), LOST, drop),
        (
            Comparison(
                "accuracy of arithmetic: random heads of the same layers ablated, against its own",
                pairs(mean_over(random_lost), without),
                BEYOND,
                drop,
            ),
            Comparison(
                "attention to operands and operator: other heads against arithmetic heads",
                pairs(looks[:, ~chosen].mean(1), looks[:, chosen].mean(1)),
                LOOK,
            ),
            Comparison(
                "accuracy of sums not tuned on: before and after tuning its heads",
                pairs(np.concatenate(before), np.concatenate(after)),
                BETTER,
            ),
            Comparison(
                "accuracy of facts: before and after tuning these heads",
                pairs(known, mean_over(after_facts)),
                ELSEWHERE,
            ),
        ),
        {
            "heads": written(ranked.top(6)),
            "random heads ablated, by draw": [round(float(one.mean()), 3) for one in random_lost],
            "accuracy of sums, random heads tuned": [round(float(one.mean()), 3) for one in elsewhere],
        },
    )
