"""[85] Head embeddings against a projection for each head."""

from __future__ import annotations

from dataclasses import replace

from saccade.repro.claims.mech_head.shared import HEADS, SIZES, USES, fresh, lines
from saccade.repro.host import Host, Mixer, accuracy, loss, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units, drop, saving

RATE, KEPT, FEWER, BETTER = 6e-3, 0.9, 2.5, 0.0
ONE_HEAD = replace(SIZES, heads=1)
MODELS = {
    "multi-head": (SIZES, Mixer("softmax")),
    "embeddings": (SIZES, Mixer("head-embeddings")),
    "single": (ONE_HEAD, Mixer("softmax", options={"head_dim": SIZES.dim // HEADS})),
}


def retained(units: Units) -> tuple[float, float, float]:
    """Means of baseline and method, and the latter over the former."""
    baseline, method = units.mean(0).tolist()
    return baseline, method, method / baseline


def attention_parameters(model: Host) -> int:
    """Numbers that the attention layers learn."""
    return sum(p.numel() for block in model.blocks for p in block.mix.parameters())


@claim(
    85,
    "one projection for eight heads with an embedding for each keeps nine tenths of the accuracy of separate "
    "projections with less than half of their parameters, and does better than a single head",
    uses=(*USES, "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Character models on held-out modules; a unit is one training run of all three, on the same data."""
    runs, steps = (3, 80) if quick else (4, 160)
    measure = fresh(seed)
    right, losses, learned = [], [], []
    for i in range(runs):
        models = [train(sizes, mixer, lines, steps, RATE, 1000 * seed + i) for sizes, mixer in MODELS.values()]
        right.append([accuracy(model, measure) for model in models])
        losses.append([loss(model, measure) for model in models])
        learned.append([attention_parameters(model) for model in models])
    return Result(
        Comparison("share of the accuracy that is kept", [row[:2] for row in right], KEPT, retained),
        (
            Comparison("parameters of attention", [row[:2] for row in learned], FEWER, saving),
            Comparison("nats a character: against one head", [[row[2], row[1]] for row in losses], BETTER, drop),
        ),
        {"steps": steps, "models": list(MODELS), "losses": losses, "parameters": learned[0]},
    )
