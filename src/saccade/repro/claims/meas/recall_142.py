"""[142] A fact is recalled by heads that bring the topic and layers that turn it into the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.heads import HeadSet, ZeroAblation
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop
from saccade.see import Lens
from saccade.see.recall import feed_forward, suppressors
from saccade.tasks.world.facts import RELATIONS, stable_facts
from saccade.tasks.world.lexicon import lexicon

from .facts import asked, first_token, reader

SHARE = 0.1
BAR_TOPIC, BAR_RANDOM, BAR_TURNED, BAR_UNDONE = 0.3, 0.2, 1.0, 0.01


@claim(
    142,
    "recall of a fact falls by 30 points without the tenth of the heads that bring the topic, 20 more than without "
    "random ones; feed-forward layers add a logit to the answer that the heads of their layer do not explain; taking "
    "out the heads of the last layer that lower the answer raises its probability by 0.01",
    uses=("saccade.see.recall", "saccade.see.lens", "saccade.heads", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`, facts that its weights hold; a unit is a fact, of the half that does not choose heads.

    Topic heads write the subject: by logit lens, against the mean of the vocabulary, at the last position. The answer
    is read from feed-forward layers against the other values of its relation, summed over layers but the first; each
    decomposition is fitted to all facts.
    """
    draws = 2 if quick else 8
    lm = reader()
    facts = list(stable_facts())
    order = torch.randperm(len(facts), generator=torch.Generator().manual_seed(142 + seed)).tolist()
    facts = [facts[index] for index in order]
    half = len(facts) // 2
    ids = asked(lm, [fact.question for fact in facts])
    answer = torch.tensor([first_token(lm, fact.value) for fact in facts])
    subject = torch.tensor([first_token(lm, fact.subject) for fact in facts])
    chooser = Lens.of(lm, input_ids=ids[:half])
    layers = range(len(chooser.seen.stack()))
    logits = torch.stack([chooser.head_logits(layer) for layer in layers], 1)
    index = subject[:half].view(-1, 1, 1, 1).expand(*logits.shape[:3], 1)
    topic = (logits.gather(-1, index)[..., 0] - logits.mean(-1)).mean(0)
    ranked = HeadSet([(layer, head, float(x)) for layer, row in enumerate(topic) for head, x in enumerate(row)])
    heads = ranked.top(SHARE)
    fresh, wanted = ids[half:], answer[half:]
    whole, without = (said(lm, fresh, some) for some in (None, heads))
    random = [said(lm, fresh, HeadSet.random(ranked, heads, number)) for number in range(draws)]
    undone = said(lm, fresh, HeadSet(suppressors(chooser, answer[:half])))
    kin = [[t for t in values(lm, fact.relation) if t != first_token(lm, fact.value)] for fact in facts]
    lens = Lens.of(lm, input_ids=ids)
    explained: list[Tensor] = []
    own: list[Tensor] = []
    coefficients = {}
    for layer in layers[1:]:
        part = feed_forward(lm, layer, input_ids=ids)
        coefficients[f"layer {layer}"] = [round(x, 2) for x in part.coefficients.tolist()]
        for found, written in ((explained, part.from_heads), (own, part.shared + part.rest)):
            read = lens.readout.logits(written, lens.where)
            found.append(torch.stack([read[i, answer[i]] - read[i, some].mean() for i, some in enumerate(kin)]))
    by_heads, by_itself = (torch.stack(one).sum(0)[half:].double().numpy() for one in (explained, own))

    def right(logits: Tensor) -> Units:
        return (logits.argmax(-1) == wanted).double().numpy()

    def odds(logits: Tensor) -> Units:
        return logits.softmax(-1).gather(1, wanted[:, None])[:, 0].double().numpy()

    return Result(
        Comparison(
            "accuracy of facts: whole model against topic heads ablated",
            pair(right(whole), right(without)),
            BAR_TOPIC,
            drop,
        ),
        (
            Comparison(
                "accuracy of facts: random heads ablated against topic heads ablated",
                pair(np.mean([right(one) for one in random], 0), right(without)),
                BAR_RANDOM,
                drop,
            ),
            Comparison(
                "logit of the answer over its kin from feed-forward layers: explained by heads against the rest",
                pair(by_heads, by_itself),
                BAR_TURNED,
            ),
            Comparison(
                "probability of the answer: whole model against suppressing heads of the last layer taken out",
                pair(odds(whole), odds(undone)),
                BAR_UNDONE,
            ),
        ),
        {
            "topic heads": [f"{head} {head.score:.2f}" for head in heads],
            "suppressing heads": {str(k): v for k, v in suppressors(chooser, answer[:half]).items()},
            "coefficients of heads": coefficients,
            "random heads ablated, by draw": [round(float(right(one).mean()), 3) for one in random],
        },
    )


@torch.no_grad()
def said(lm: Any, ids: Tensor, without: HeadSet | None) -> Tensor:
    """Logits of the last position, with some heads at zero."""
    if without is None or not len(without):
        return lm(input_ids=ids).logits[:, -1]  # type: ignore[no-any-return]
    with lm.steer(ZeroAblation(without)):
        return said(lm, ids, None)


def values(lm: Any, relation: str) -> list[int]:
    """First tokens of all values of a relation."""
    return sorted({first_token(lm, value) for value in lexicon().values(RELATIONS[relation])})


def pair(baseline: Units, method: Units) -> Units:
    """Units of two columns."""
    return np.stack([baseline, method], 1)
