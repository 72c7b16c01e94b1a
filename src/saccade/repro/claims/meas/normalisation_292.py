"""[292] What normalisation costs selection, on the heads of a real encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.repro.claims.meas.encoder import encoder
from saccade.repro.claims.meas.english import prompt, sentences
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import trace
from saccade.see.bert import rows
from saccade.see.limits import margin, margin_bound, sensitivity

SELECTED = (1, 2, 4, 8)
TEMPERATURES = (1.0, 0.5, 0.25, 0.1)
BAR_SELECTION, BAR_BOUND, BAR_GRADIENT = 0.1, 0.0, 0.1
ROUNDING = 1e-5


@claim(
    292,
    "the more tokens are selected, the less softmax sets them apart from the rest, never beyond the bound that the "
    "range of the logits gives; low temperature makes gradients more sensitive, up to 1 / (2T)",
    uses=("saccade.see.limits",),
)
def run(quick: bool, seed: int) -> Result:
    """Every row of every head of the real encoder; a unit is a sentence (a mean, or for the bounds the worst row)."""
    lm = encoder()
    drawn = sentences(20 if quick else 100, 400 + seed)
    by_count: dict[int, list[Tensor]] = {count: [] for count in SELECTED}
    worst, steep, beyond = [], [], []
    for one in drawn:
        made, _ = prompt(lm, [one])
        weights = rows(trace(lm, made))[:, 0].double().clamp_min(1e-30).flatten(0, 2)
        length = weights.shape[-1]
        logits = weights.log()
        spread = logits.amax(-1) - logits.amin(-1)
        room = []
        for count in SELECTED:
            found = margin(weights, count)
            by_count[count].append(found.mean())
            room.append((margin_bound(spread, length, count) - found).min())
        worst.append(torch.stack(room).min())
        some = logits[torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))[:64]]
        norms = [sensitivity((some / t).softmax(-1), t) for t in TEMPERATURES]
        steep.append(torch.stack([norm.mean() for norm in norms]))
        beyond.append(
            torch.stack([(1 / (2 * t) - norm).min() for t, norm in zip(TEMPERATURES, norms, strict=True)]).min()
        )
    means = {count: torch.stack(values) for count, values in by_count.items()}
    slopes = torch.stack(steep)
    nothing = torch.full((len(drawn),), -ROUNDING, dtype=torch.float64)
    return Result(
        Comparison("separation of the selected: 8 tokens against 1", pair(means[8], means[1]), BAR_SELECTION),
        (
            Comparison("room under the bound on separation, worst row", pair(nothing, torch.stack(worst)), BAR_BOUND),
            Comparison("gradient sensitivity: T = 1 against T = 0.25", pair(slopes[:, 0], slopes[:, 2]), BAR_GRADIENT),
            Comparison("room under 1 / (2T), worst row", pair(nothing, torch.stack(beyond)), BAR_BOUND),
        ),
        {
            "separation by number selected": {
                str(count): round(float(value.mean()), 4) for count, value in means.items()
            },
            "sensitivity by temperature": dict(zip(map(str, TEMPERATURES), slopes.mean(0).tolist(), strict=True)),
        },
    )


def pair(baseline: Tensor, method: Tensor) -> Any:
    """Units of two columns."""
    return torch.stack([baseline, method], 1).double().numpy()
