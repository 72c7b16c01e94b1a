"""[288] AttnRank: the most relevant documents go where the model attends most."""

from __future__ import annotations

import numpy as np

import saccade as sc
from saccade import zoo
from saccade.order import AttnRank, Basin
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

from .reading import questions, right

DOCUMENTS = 26
BAR, BEYOND = 0.1, 0.1


@claim(
    288,
    "putting documents that share words with the question where the model attends most, as measured on other prompts, "
    "raises accuracy over a random order, and over putting them where it attends least",
    uses=("saccade.order", "saccade.repro.claims.steer.reading", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a question. The profile of attention comes from other questions."""
    count, calibration = (20, 10) if quick else (90, 40)
    rng = np.random.default_rng(seed)
    asked = questions(count, DOCUMENTS, 28_800 + seed)
    batch = [each.passages() for each in asked]
    relevance = [each.overlap for each in asked]
    with sc.attach(*zoo.load("reader")) as lm:
        others = [each.passages() for each in questions(calibration, DOCUMENTS, 28_900 + seed)]
        basin = AttnRank(seed=seed).profile(lm, others, batch_size=16)
        least = Basin(tuple(-value for value in basin.profile))
        ranked, worst = (right(lm, asked, batch, each.orders(relevance)) for each in (basin, least))
        shuffled = right(lm, asked, batch, [rng.permutation(DOCUMENTS).tolist() for _ in asked])
    return Result(
        Comparison("accuracy: random order, AttnRank", np.stack([shuffled, ranked], 1), BAR),
        (
            Comparison(
                "accuracy: relevant documents least attended, most attended", np.stack([worst, ranked], 1), BEYOND
            ),
        ),
        {"profile": [round(value, 5) for value in basin.profile]},
    )
