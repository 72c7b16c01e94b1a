"""[101] A model that lists answers promotes all of them and suppresses those already said."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.see import Lens, knock_out

from .trained import IGNORED, llama

LANDS, TOWNS, CITIES, LAYERS = 12, 4, 36, 3
START, COLON, FIRST = 0, 1, 2
LAND, SAID, LENGTH = [1], [3, 5], 7
"""Places in ``<s> land : town : town :``, where the third town comes next."""
BAR_PROMOTED, BAR_SUPPRESSED, BAR_REPEATED, BAR_LATER = 0.5, 0.2, 0.1, 0.0


def lists(lands: Tensor, towns: Tensor, draw: torch.Generator) -> Tensor:
    """``<s> land : town : town : town : town`` for some lands, each with its towns in a random order."""
    order = torch.rand(len(lands), TOWNS, generator=draw).argsort(-1)
    rows = torch.full((len(lands), 2 + 2 * TOWNS), COLON)
    rows[:, 0], rows[:, 1] = START, FIRST + lands
    rows[:, 3::2] = FIRST + LANDS + towns[lands].gather(1, order)
    return rows


def later(units: Units) -> tuple[float, float, float]:
    """Mean layer of promotion (first columns, by layer) and of suppression (the others), and how much later it is."""
    layers = np.arange(LAYERS)
    up, down = units.mean(0)[:LAYERS], -units.mean(0)[LAYERS:]
    first, then = (float(layers @ one / one.sum()) for one in (up, down))
    return first, then, then - first


@claim(
    101,
    "attention to the subject promotes all its answers, also those already said; later, attention to the answers said "
    "suppresses them; when that attention is knocked out, the model repeats them",
    uses=("saccade.see.lens", "saccade.repro.claims.meas.trained"),
)
def run(quick: bool, seed: int) -> Result:
    """A model trained here lists the four towns of a land in a random order; a unit is a list, after two towns.

    Promotion and suppression are what attention to the land, and to the towns said, adds to the logits of the towns
    said over all towns, by Token Lens, summed over layers; when, by the mean layer. The lists of the model `reader`
    always come in one order, so that nothing has to be suppressed there (hiding the towns said brings back 1 % of
    them).
    """
    steps, models = (200, 1) if quick else (300, 3)
    rows: list[dict[str, Tensor]] = [one_model(steps, 101 + 10 * seed + number) for number in range(models)]
    found = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    nothing = torch.zeros(len(found["whole"]), dtype=torch.float64)
    return Result(
        Comparison(
            "probability of towns said: whole against attention to them knocked out",
            pair(found["whole"], found["said hidden"]),
            BAR_REPEATED,
        ),
        (
            Comparison(
                "probability of towns said: land hidden against towns said hidden",
                pair(found["land hidden"], found["said hidden"]),
                0.0,
            ),
            Comparison(
                "logits of towns said, from the land", pair(nothing, found["from the land"].sum(1)), BAR_PROMOTED
            ),
            Comparison(
                "fall of the logits of towns said, from these",
                pair(nothing, -found["from towns said"].sum(1)),
                BAR_SUPPRESSED,
            ),
            Comparison(
                "mean layer of promotion by the land against suppression by the towns said",
                torch.cat([found["from the land"], found["from towns said"]], 1).numpy(),
                BAR_LATER,
                later,
            ),
        ),
        {
            "probability of a town not yet said": round(float(found["right"].mean()), 3),
            "probability of towns said": {
                name: round(float(found[name].mean()), 4) for name in ("whole", "said hidden", "land hidden")
            },
            "logits of towns said by layer": {
                name: [round(x, 2) for x in found[name].mean(0).tolist()]
                for name in ("from the land", "from towns said", "not said, from the land", "not said, from towns said")
            },
        },
    )


def one_model(steps: int, seed: int) -> dict[str, Tensor]:
    """What a model trained on its own world does, by list."""
    draw = torch.Generator().manual_seed(seed)
    towns = torch.stack([torch.randperm(CITIES, generator=draw)[:TOWNS] for _ in range(LANDS)])

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = lists(torch.randint(LANDS, (64,), generator=generator), towns, generator)
        wanted = torch.full_like(drawn, IGNORED)
        wanted[:, 2:-1:2] = drawn[:, 3::2]
        return drawn[:, :-1], wanted[:, :-1]

    model = llama(FIRST + LANDS + CITIES, batch, layers=LAYERS, steps=steps, seed=seed)
    lm = sc.attach(model)
    full = lists(torch.arange(LANDS).repeat(6), towns, draw)
    ids, said, rest = full[:, :LENGTH], full[:, SAID], full[:, LENGTH::2]
    every = FIRST + LANDS + towns.unique()

    def odds(logits: Tensor, some: Tensor) -> Tensor:
        return logits[:, -1].softmax(-1).gather(1, some).sum(1).double()

    with torch.no_grad():
        plain = model(input_ids=ids).logits
    lens = Lens.of(lm, input_ids=ids)
    found = {"whole": odds(plain, said), "right": odds(plain, rest)}
    for name, places in (("said", SAID), ("land", LAND)):
        gone = torch.zeros(ids.shape, dtype=torch.bool)
        gone[:, places] = True
        found[f"{name} hidden"] = odds(knock_out(lm, gone, [-1], input_ids=ids).logits, said)
        update = torch.stack([lens.token_logits(layer, gone) for layer in range(LAYERS)], 1)
        above = update - update[..., every].mean(-1, keepdim=True)
        source = "from the land" if name == "land" else "from towns said"
        for group, some in (("", said), ("not said, ", rest)):
            index = some[:, None].expand(-1, LAYERS, -1)
            found[group + source] = above.gather(2, index).mean(2).double()
    return found


def pair(baseline: Tensor, method: Tensor) -> Any:
    """Units of two columns."""
    return torch.stack([baseline, method], 1).double().numpy()
