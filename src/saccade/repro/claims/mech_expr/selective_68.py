"""[68] Selective attention: tokens that vote others out of the context, and a cache that lets those go."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from saccade.mechanisms import State
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, characters, data, host, nats, trained
from saccade.repro.host import Batch, Host, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.source import SYMBOLS
from saccade.repro.statistics import drop

LENGTH, CACHE, HEADS = 48, 6, 4
SIZES, LARGER = (Sizes(SYMBOLS, dim=32, heads=heads) for heads in (HEADS, 2 * HEADS))
WIDTH = SIZES.dim // HEADS
BAR, SAME = 0.0, -0.02


def newest(state: State) -> None:
    """Leave only the newest keys in a cache."""
    for name in ("k", "v"):
        state[name] = state[name][:, :, -CACHE:]
    state["positions"] = state["positions"][:, -CACHE:]


def whole(state: State) -> None:
    """Leave a cache as it is."""


@torch.no_grad()
def decoded(model: Host, batch: Batch, after: Callable[[State], None] = whole) -> float:
    """Mean cross-entropy in nats, token by token; ``after`` each of them the cache of every layer is seen to."""
    tokens, wanted = batch
    states, logits = [State() for _ in model.blocks], []
    for token in tokens.split(1, dim=1):
        x = model.embed(token)
        for block, state in zip(model.blocks, states, strict=True):
            x = x + block.mix(block.norm(x), state=state)
            x = x + block.back(F.gelu(block.forth(block.norm_after(x))))
            after(state)
        logits.append(model.head(model.norm(x)))
    return F.cross_entropy(torch.cat(logits, dim=1).flatten(0, 1), wanted.flatten()).item()


@claim(
    68,
    "selective attention reads source code as well as softmax attention with twice the heads and parameters, and with "
    "an eighth of its cache, the tokens that have the fewest votes against them, better than softmax with the whole",
    uses=(*USES, "saccade.mechanisms.baseline.softmax", "saccade.mechanisms.state"),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on held-out modules after the same training; a unit is a training run of all three, on the same data.

    What softmax attention loses when it keeps an eighth, the newest keys, is in the details. The quick form leaves out
    the larger model.
    """
    runs, steps, rows = (2, 100, 64) if quick else (4, 240, 256)
    makes = {
        "softmax": host(SIZES, "softmax", "rotary"),
        "larger": host(LARGER, "softmax", "rotary", head_dim=WIDTH),
        "selective": host(SIZES, "selective", "rotary"),
    }
    if quick:
        del makes["larger"]
    models, rates = trained(makes, characters(LENGTH), steps, RATES, runs, seed)
    fresh = data(characters(LENGTH, rows, held=True), MEASURED + seed)
    losses = []
    for one in models:
        pruning = host(SIZES, "selective", "rotary", budget=CACHE)().eval()
        pruning.load_state_dict(one["selective"].state_dict())
        losses.append(
            {name: nats(model, fresh) for name, model in one.items()}
            | {
                "selective, eighth": decoded(pruning, fresh),
                "softmax, eighth": decoded(one["softmax"], fresh, newest),
            }
        )

    def compared(metric: str, baseline: str, method: str, bar: float) -> Comparison:
        return Comparison(f"nats a character: {metric}", [[x[baseline], x[method]] for x in losses], bar, drop)

    return Result(
        compared("softmax with its cache against selective with an eighth", "softmax", "selective, eighth", BAR),
        (
            compared("selective, what pruning loses", "selective", "selective, eighth", SAME),
            *(
                []
                if quick
                else [compared("softmax with twice the heads against selective", "larger", "selective", SAME)]
            ),
        ),
        {"steps": steps, "rates": rates, "cache": [LENGTH, CACHE], "losses": losses},
    )
