"""[55] Attention by perturbation agrees with marked words more than attention by weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import Occlusion, RawAttention, Rollout, targets
from saccade.see.human import alignment

from .encoder import MASK, embed, encoder, pool
from .english import prompt, sentences

BAR = 0.1


@claim(
    55,
    "the words that a question is about, as marked, are found by perturbing the input better than by reading weights",
    uses=("saccade.see.human", "saccade.see.controls"),
)
def run(quick: bool, seed: int) -> Result:
    """Real encoder; a unit is a sentence of two clauses.

    A reader who is asked for the part that a question is about marks the words of that clause; the question is the
    clause itself. The measure is the area under the ROC curve of the marks. The marks follow from how the sentences
    are made: no people took part.
    """
    lm = encoder()
    drawn = sentences(12 if quick else 60, 600 + seed)
    made, words = prompt(lm, drawn)
    second = seed % 2 == 0
    clause = lm.prompt([one.text.split(",")[int(second)].strip() for one in drawn])
    target = targets.similarity(embed(lm, clause), made.attention_mask)
    skip = words < 0
    comma = torch.tensor([one.words.index(",") for one in drawn])[:, None]
    marks = ((words > comma) if second else (words < comma)) & ~skip
    found = {
        "weights": RawAttention().explain(lm, made, token=pool(made)),
        "rollout": Rollout().explain(lm, made, token=pool(made)),
        "perturbation": Occlusion("token", token_id=MASK, skip=skip).explain(lm, made, target=target),
    }
    areas = {name: alignment(scores, marks.float(), ~skip).auc for name, scores in found.items()}

    def against(name: str, bar: float) -> Comparison:
        units: Any = np.stack([areas[name], areas["perturbation"]], 1)
        return Comparison(f"area under the ROC curve of marked words: {name} against perturbation", units, bar)

    return Result(
        against("weights", BAR),
        (against("rollout", BAR),),
        {name: round(float(area.mean()), 3) for name, area in areas.items()},
    )
