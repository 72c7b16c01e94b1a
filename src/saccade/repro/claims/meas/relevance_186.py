"""[186] Generic relevance finds the tokens that a prediction rests on."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see import Deletion, Occlusion, RawAttention, Relevance, Rollout, targets

from .encoder import MASK, embed, encoder, pool
from .english import prompt, sentences

BAR = 0.02
"""Of cosine similarity, which falls from about 0.8 to 0.1."""


@claim(
    186,
    "taking tokens away in the order of gradient-weighted relevance destroys a prediction sooner than in the order of "
    "rollout or of raw attention, and in the opposite order later",
    uses=("saccade.see.relevance", "saccade.see.rollout", "saccade.see.curves", "saccade.see.controls"),
)
def run(quick: bool, seed: int) -> Result:
    """Areas under deletion curves on the real encoder; a unit is a sentence of two clauses.

    The prediction is the similarity of the sentence with its first clause; ``[MASK]`` takes a token away. The quick
    form leaves out the comparison with raw attention, which needs more sentences than it has.
    """
    most, least = areas(20 if quick else 120, seed)

    def sooner(name: str, bar: float) -> Comparison:
        units = torch.stack([most[name], most["relevance"]], 1).numpy()
        return Comparison(f"area as the most relevant tokens go first: {name} against relevance", units, bar, drop)

    later = torch.stack([least["rollout"], least["relevance"]], 1).numpy()
    return Result(
        sooner("rollout", BAR),
        (
            *(() if quick else (sooner("raw attention", 0.0),)),
            sooner("random order", BAR),
            Comparison("area as the least relevant tokens go first: rollout against relevance", later, BAR),
        ),
        {
            "most relevant first": {name: round(float(area.mean()), 4) for name, area in most.items()},
            "least relevant first": {name: round(float(area.mean()), 4) for name, area in least.items()},
        },
    )


def areas(count: int, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Areas by explanation ``[count]``, most and least relevant tokens first."""
    lm = encoder()
    drawn = sentences(count, 100 + seed)
    made, words = prompt(lm, drawn)
    first = lm.prompt([one.text.split(",")[0] + "." for one in drawn])
    target = targets.similarity(embed(lm, first), made.attention_mask)
    start = pool(made)
    orders = {
        "relevance": Relevance().explain(lm, made, token=start, target=target),
        "rollout": Rollout().explain(lm, made, token=start),
        "raw attention": RawAttention().explain(lm, made, token=start),
        "random order": torch.rand(words.shape, generator=torch.Generator().manual_seed(seed)),
    }
    occlusion = Occlusion("token", token_id=MASK, skip=words < 0)
    most, least = (Deletion(occlusion, points=5, least_first=order) for order in (False, True))
    return (
        {name: most.curve(lm, order, made, target=target).area for name, order in orders.items()},
        {name: least.curve(lm, orders[name], made, target=target).area for name in ("relevance", "rollout")},
    )
