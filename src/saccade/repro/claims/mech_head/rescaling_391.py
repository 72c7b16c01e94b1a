"""[391] Fewer key heads than value heads, and wider queries."""

from __future__ import annotations

import torch

from saccade.repro.claims.mech_head.shared import HEADS, SIZES, TUNED, USES, cached, fresh, lines
from saccade.repro.host import Mixer, best_rate, loss, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, saving

RATES, SAME, SMALLER = (4e-3, 8e-3), -0.03, 1.5
SHARED = {"kv_heads": HEADS // 2}
MIXERS = {"grouped": Mixer("grouped-query", options=SHARED), "rescaled": Mixer("diff-qkv", options=SHARED)}
PLAIN = Mixer("diff-qkv", options={**SHARED, "augment": 0.0})


@claim(
    391,
    "one key head for four value heads and augmented queries give the loss of grouped-query attention, to 0.03 nats, "
    "with a cache that is 1.6 times smaller",
    uses=(*USES, "saccade.mechanisms.heads.grouped_query", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules; a unit is one training run of both, on the same data.

    Queries that are not augmented are in the details.
    """
    runs, steps = (3, 80) if quick else (4, 160)
    tuning, measure = lines(torch.Generator().manual_seed(TUNED), 256), fresh(seed, 128 if quick else 512)
    rates = RATES[:1] if quick else RATES
    chosen = {name: best_rate(SIZES, mixer, lines, steps, rates, tuning) for name, mixer in MIXERS.items()}
    losses, kept, plain = [], [], []
    for i in range(runs):
        number = 1000 * seed + i
        models = [train(SIZES, mixer, lines, steps, chosen[name], number) for name, mixer in MIXERS.items()]
        losses.append([loss(model, measure) for model in models])
        kept.append([cached(model) for model in models])
        if not quick:
            plain.append(loss(train(SIZES, PLAIN, lines, steps, chosen["rescaled"], number), measure))
    return Result(
        Comparison("nats a character on held-out modules", losses, SAME, drop),
        (Comparison("bytes a token in the cache", kept, SMALLER, saving),),
        {"steps": steps, "rates": chosen, "losses": losses, "not augmented": plain},
    )
