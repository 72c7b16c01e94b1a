"""[136] CHELA: short and long convolutions in front of linear attention."""

from __future__ import annotations

from functools import partial

import torch

from saccade.mechanisms import mechanism
from saccade.repro.claims.mech_lin.lookup import USES as TASK
from saccade.repro.claims.mech_lin.lookup import Lookup
from saccade.repro.claims.mech_lin.shared import USES, work
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, data, host, right, trained
from saccade.repro.host import Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.testing import exponent

LONG, BAR, GROWTH = 16, 0.3, -0.05


def power(width: int, length: int = 1024) -> float:
    """The power of the length with which the operations of a layer grow."""
    layer = mechanism("chela", width, 2)
    short, long = (work(partial(layer, torch.zeros(1, tokens, width)))[0] for tokens in (length, 2 * length))
    return exponent(short, long)


@claim(
    136,
    "with short and long convolutions in front of it gated linear attention recalls values that stand behind their "
    "keys in one layer, without them it hardly does, and the cost is linear in length",
    uses=(*USES, *TASK, "saccade.mechanisms.scan", "saccade.mechanisms.linear.transnormer"),
)
def run(quick: bool, seed: int) -> Result:
    """Answers of one-layer causal models to keys that ask for values, each told behind its key; counted operations.

    The layer without convolutions has kernels of a single tap and is the same in everything else. Units: of accuracy a
    training run of all on the same data, of operations a width. Control: softmax attention with rotary positions.
    """
    runs, steps = (2, 150) if quick else (3, 200)
    task, tests = (Lookup(keys=8, values=4, pairs=4, apart=True, rows=rows) for rows in (32, 512))
    sizes = Sizes(task.vocabulary, dim=32, heads=2, layers=1)
    makes = {
        "without": host(sizes, "chela", short=1, long=1),
        "softmax": host(sizes, "softmax", "rotary"),
        "chela": host(sizes, "chela", long=LONG),
    }
    models, rates = trained(makes, task, steps, RATES, runs, seed)
    fresh = data(tests, MEASURED + seed)
    answers = [{name: right(model, fresh) for name, model in one.items()} for one in models]
    growth = [[1.0, power(width)] for width in (16, 32, 64)]
    return Result(
        Comparison(
            "share of values recalled: without convolutions", [[a["without"], a["chela"]] for a in answers], BAR
        ),
        (
            Comparison("share of values recalled: softmax", [[a["softmax"], a["chela"]] for a in answers], BAR),
            Comparison("power of the length with which operations grow: linear, CHELA's", growth, GROWTH, drop),
        ),
        {"steps": steps, "rates": rates, "answers": answers},
    )
