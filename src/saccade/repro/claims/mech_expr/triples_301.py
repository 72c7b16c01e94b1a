"""[301] 2-simplicial attention: more learned from as many tokens, where three things have to fit together."""

from __future__ import annotations

from dataclasses import replace

import torch

from saccade.repro.host import IGNORED, Batch, Mixer, Sizes, accuracy, best_rate, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

NAMES, VALUES, FACTS, ASKED, ROWS = 4, 2, 12, 6, 16
BAR, BAR_DEEPER = 0.15, 0.05
SIZES = Sizes(vocabulary=NAMES * NAMES * VALUES + 2 * NAMES, dim=32, layers=1, heads=2)
WINDOWS = {"first": 32, "second": 4}
HOSTS = {
    "baseline": (SIZES, Mixer("softmax")),
    "method": (SIZES, Mixer("simplicial", None, WINDOWS)),
    "deeper": (replace(SIZES, layers=2), Mixer("softmax")),
}


def facts(generator: torch.Generator, rows: int = ROWS) -> Batch:
    """Facts (a, b, value), a token each, then questions of two tokens, a and b; at b the value is to be foretold.

    A value follows from one fact alone, the one with both a and b; other facts have the same a, or the same b.
    """
    pairs = torch.rand(rows, NAMES**2, generator=generator).argsort(-1)[:, :FACTS]
    values = torch.randint(VALUES, (rows, FACTS), generator=generator)
    which = torch.randint(FACTS, (rows, ASKED), generator=generator)
    pair, base = pairs.gather(1, which), NAMES**2 * VALUES
    questions = torch.stack([base + pair // NAMES, base + NAMES + pair % NAMES], -1).flatten(1)
    tokens = torch.cat([pairs * VALUES + values, questions], 1)
    wanted = torch.full_like(tokens, IGNORED)
    wanted[:, FACTS + 1 :: 2] = values.gather(1, which)
    return tokens, wanted


@claim(
    301,
    "from as many tokens of a task in which three things have to fit together, one layer of 2-simplicial attention "
    "learns more than one layer of softmax attention, and more than two",
    uses=("saccade.repro.host", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy after a fixed number of tokens; a unit is one training run of all, on the same data.

    Windows are shorter than the paper's 512 and 32, since all that is to be seen lies within 24 tokens.
    """
    runs, steps = (2, 250) if quick else (3, 300)
    rates = (1e-2,) if quick else (3e-3, 1e-2)
    tuning = facts(torch.Generator().manual_seed(2**30), 512)
    fresh = facts(torch.Generator().manual_seed(2**30 + 1 + seed), 1024)
    chosen = {name: best_rate(*host, facts, steps, rates, tuning) for name, host in HOSTS.items()}
    units = [
        {n: accuracy(train(*host, facts, steps, chosen[n], 1000 * seed + i), fresh) for n, host in HOSTS.items()}
        for i in range(runs)
    ]
    tokens = steps * ROWS * (FACTS + 2 * ASKED)
    return Result(
        Comparison(f"accuracy after {tokens} tokens, one layer", [[u["baseline"], u["method"]] for u in units], BAR),
        (Comparison("against two layers of softmax", [[u["deeper"], u["method"]] for u in units], BAR_DEEPER),),
        {"steps": steps, "rates": chosen, "accuracies": units},
    )
