"""[206] False-induction heads: they copy false labels, and without them the truth comes back."""

from __future__ import annotations

import re
from typing import Any

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, find
from saccade.prompt import Chars, Message, Within
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.tasks import Example, world

from .shared import BATCH, mean_over, pairs, right, written

SHOTS, ABLATED, DRAWS = 8, 0.05, 6
GAIN, MORE, KEPT = 0.05, 0.05, -0.02


def labels(example: Example) -> dict[str, list[Any]]:
    """The labels shown for the query's class, and those shown for the others."""
    found: dict[str, list[Any]] = {}
    turn = len(example.contents) - 1
    for match in re.finditer(r": (\w+)\.", example.contents[turn]):
        name = "same" if match[1] == example.meta["implied"] else "other"
        found.setdefault(name, []).append(Within(Chars(match.start(1), match.end(1)), Message(turn)))
    return found


def examples(lm: Any, truth: str, count: int, seed: int) -> list[tuple[Any, list[str]]]:
    """Prompts of classification with their labels as spans, and the true answers."""
    drawn = world.FewShot(shots=SHOTS, labels=truth, seed=seed).examples(count)
    batches = [drawn[start : start + BATCH] for start in range(0, count, BATCH)]
    return [
        (
            lm.prompt([one.messages for one in batch], spans=[labels(one) for one in batch]),
            [one.answer for one in batch],
        )
        for batch in batches
    ]


@claim(
    206,
    "ablating the 5 % of heads with the highest false prefix-matching score raises accuracy under false demonstrations "
    "by 5 points, 5 more than random heads of the same layers, and accuracy under true ones stays within 2",
    uses=("saccade.heads.attended", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a prompt of eight demonstrations. Heads are found on other prompts.

    Heads of the first layer are no candidates: a label is not yet bound to its word where they look. The other half of
    the paper, that early layers decode the truth better than the last one, is not claimed.
    """
    choosing, measuring, draws = (100, 300, 2) if quick else (200, 600, DRAWS)
    with sc.attach(*zoo.load("reader")) as lm:
        held = [prompt for prompt, _ in examples(lm, "false", choosing, 10_000 + seed)]
        found = find(lm, "false-induction", held)
        found = HeadSet([head for head in found if int(head.layer) > 0], found.kind, found.model)
        heads = found.top(ABLATED)
        fresh = examples(lm, "false", measuring, 20_000 + seed)
        true = examples(lm, "true", measuring // 2, 20_000 + seed)
        plain, without = right(lm, fresh), right(lm, fresh, heads)
        random = [right(lm, fresh, HeadSet.random(found, heads, number, by_layer=True)) for number in range(draws)]
        kept = pairs(right(lm, true), right(lm, true, heads))
    return Result(
        Comparison(
            "true labels after false demonstrations: whole model against false-induction heads ablated",
            pairs(plain, without),
            GAIN,
        ),
        (
            Comparison(
                "the same: random heads of the same layers against false-induction heads",
                pairs(mean_over(random), without),
                MORE,
            ),
            Comparison("true labels after true demonstrations: false-induction heads ablated", kept, KEPT),
        ),
        {
            "heads": written(found),
            "ablated": [str(head) for head in heads],
            "accuracy by random draw": [round(float(one.mean()), 3) for one in random],
        },
    )
