"""[309] Based: a small window and a Taylor kernel, a state whose size buys recall."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from saccade.mechanisms import State, mechanism
from saccade.repro.claims.mech_head.shared import held
from saccade.repro.claims.mech_lin.lookup import USES as TASK
from saccade.repro.claims.mech_lin.lookup import Lookup
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, Make, data, right, trained
from saccade.repro.host import Host, Mixer, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import gain

Kind = tuple[str, dict[str, Any]]
NEAR: Kind = ("based-window", {"window": 2})
TASKED = Lookup(apart=True)
FEATURES, WINDOW = (1, 2, 4), 5
RISE, STEP, BETTER, BEHIND, BEHIND_QUICK = 0.2, 0.05, 0.1, 0.1, 0.2
SIZES = Sizes(TASKED.vocabulary, dim=32, heads=2)


def stacked(*kinds: Kind) -> Make:
    """How to build a host with these mechanisms in its layers."""

    def make() -> Host:
        model = Host(SIZES, Mixer("softmax", None))
        for block, (name, options) in zip(model.blocks, kinds, strict=True):
            block.mix = mechanism(name, SIZES.dim, SIZES.heads, **options)
        return model

    return make


def based(features: int) -> Kind:
    """The Taylor kernel on so many features."""
    return "based", {"features": features}


@torch.no_grad()
def remembered(model: Host, length: int) -> float:
    """Bytes of the states of all layers after ``length`` tokens."""
    states = [State() for _ in model.blocks]
    for block, state in zip(model.blocks, states, strict=True):
        block.mix(torch.zeros(1, length, SIZES.dim), state=state)
    return float(sum(held(state) for state in states))


@claim(
    309,
    "a window of two tokens with a Taylor kernel recalls more the more features the kernel has, up to near softmax "
    "attention, and more than windows alone with as large a state or the kernel alone",
    uses=(*USES, *TASK, "saccade.mechanisms.linear.window", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Share of keys whose value a two-layer model recalls; the state is counted in bytes.

    A unit is a training run of all kinds on the same data.
    """
    runs, steps = (2, 100) if quick else (3, 200)
    kinds: dict[str, tuple[Kind, Kind]] = {
        "softmax": (NEAR, ("softmax", {})),
        "small": (NEAR, based(FEATURES[0])),
        "middle": (NEAR, based(FEATURES[1])),
        "large": (NEAR, based(FEATURES[2])),
        "window": (NEAR, ("based-window", {"window": WINDOW})),
        "kernel": (based(FEATURES[1]), based(FEATURES[1])),
    }
    models, rates = trained({name: stacked(*two) for name, two in kinds.items()}, TASKED, steps, RATES, runs, seed)
    fresh = data(replace(TASKED, rows=256), MEASURED + seed)
    recall = [{name: right(model, fresh) for name, model in one.items()} for one in models]
    length = fresh[0].shape[1]
    state = {name: remembered(model, length) for name, model in models[0].items()}

    def against(first: str, second: str) -> list[list[float]]:
        return [[row[first], row[second]] for row in recall]

    sizes = [state["window"] - state["middle"], state["kernel"] - state["middle"]]
    return Result(
        Comparison("recall, smallest state and largest", against("small", "large"), RISE, gain),
        (
            Comparison("recall, smallest state and middle", against("small", "middle"), STEP, gain),
            Comparison(
                "recall, windows alone and with the kernel, states as large", against("window", "middle"), BETTER, gain
            ),
            Comparison("recall, kernel alone and with a window", against("kernel", "middle"), BETTER, gain),
            Comparison(
                "recall, softmax attention and the largest state",
                against("softmax", "large"),
                -(BEHIND_QUICK if quick else BEHIND),
                gain,
            ),
            Comparison("bytes that the state of either half alone is larger", [[0.0, s] for s in sizes], 0.0, gain),
        ),
        {"steps": steps, "rates": rates, "recall": recall, "bytes of the state": state},
    )
