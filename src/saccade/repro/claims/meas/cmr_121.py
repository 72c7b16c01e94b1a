"""[121] Induction heads attend as a model of human recall does."""

from __future__ import annotations

import numpy as np

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see.memory import fit_cmr

from .recall import REACH, copier, curves, induction, lists

BAR_FIT, BAR_ORDER = 0.2, 0.2
GROUP = 20
"""Lists whose mean curve is fitted: one unit."""


@claim(
    121,
    "the attention of induction heads by lag is described by a context-maintenance model of recall, that of other "
    "heads far less, and less well with the lags shuffled",
    uses=("saccade.see.memory", "zoo:copier"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `copier`, lists of distinct symbols said twice; a unit is a group of 20 lists.

    The measure is the share of the variance of a head's curve over the lags -5 to 5 (0 left out) that the closest
    model explains. Heads are chosen on other lists.
    """
    groups = 6 if quick else 20
    lm = copier()
    heads = induction(curves(lm, lists(lm, 128, 30_000 + seed)))
    chosen = {(int(layer), head) for layer, some in heads.items() for head in some}
    found = curves(lm, lists(lm, GROUP * groups, 40_000 + seed))
    layers, _, count, width = found.shape
    grouped = found.view(layers, groups, GROUP, count, width).mean(2).double().numpy()
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(2 * REACH) for _ in range(20)]
    rows, fits = [], {}
    for group in range(groups):
        scores: dict[str, list[float]] = {"others": [], "induction": [], "shuffled": []}
        for layer in range(layers):
            for head in range(count):
                curve = grouped[layer, group, head]
                fit = fit_cmr(curve)
                kind = "induction" if (layer, head) in chosen else "others"
                scores[kind].append(fit.explained)
                if kind == "induction":
                    fits[f"L{layer}H{head}"] = fit
                    order = orders[(group + head) % len(orders)]
                    mixed = np.insert(np.delete(curve, REACH)[order], REACH, 0.0)
                    scores["shuffled"].append(fit_cmr(mixed).explained)
        rows.append([np.mean(scores["others"]), np.mean(scores["shuffled"]), np.mean(scores["induction"])])
    units = np.array(rows)
    return Result(
        Comparison("variance explained: other heads against induction heads", units[:, [0, 2]], BAR_FIT),
        (
            Comparison(
                "variance explained: induction heads with shuffled lags against in order", units[:, [1, 2]], BAR_ORDER
            ),
        ),
        {
            "induction heads": heads,
            "closest models": {
                name: {
                    "beta": round(fit.model.beta, 3),
                    "gamma": round(fit.model.gamma, 3),
                    "temperature": round(fit.model.temperature, 3),
                    "explained": round(fit.explained, 4),
                    "distance": fit.distance,
                }
                for name, fit in fits.items()
            },
        },
    )
