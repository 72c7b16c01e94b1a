"""[302] Operations for each byte of the cache: latent against multi-head attention."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.core.attention import attention
from saccade.mechanisms import State, mechanism
from saccade.mechanisms.heads.intensity import Reading
from saccade.mechanisms.heads.latent import Latent
from saccade.repro.claims.mech_head.shared import SIZES, TUNED, USES, cached, fresh, lines
from saccade.repro.host import Mixer, best_rate, loss, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, saving
from saccade.testing.cost import counted

RATES, MAGNITUDES, SAME = (6e-3, 1.2e-2), 100.0, -0.05
HEADS, WIDTH, LATENT, ROTARY = 128, 128, 512, 64
"""Of DeepSeek-V3."""
MIXERS = {
    "multi-head": Mixer("softmax"),
    "latent": Mixer("latent", positions=None, options={"latent": 48, "query_latent": 0, "rotary": 8}),
}


def bytes_an_operation(seed: int, length: int) -> list[float]:
    """Bytes of the cache over counted operations on it, for one new token: multi-head, latent.

    Layers have the heads of DeepSeek-V3 on a narrow model, in bfloat16; the operations are those of one query a head
    with the whole cache.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.randn(1, length, 64, dtype=torch.bfloat16)
        multi = mechanism("softmax", 64, HEADS, head_dim=WIDTH).bfloat16()
        latent = mechanism("latent", 64, HEADS, head_dim=WIDTH, query_latent=0).bfloat16()
    assert isinstance(latent, Latent)
    states = State(), State()
    with torch.no_grad():
        for layer, state in zip((multi, latent), states, strict=True):
            layer(x[:, :-1], state=state)
            layer(x[:, -1:], state=state)
    plain, compressed = states
    c, k_r = compressed["latent"].float(), compressed["rotary"].float()
    of_multi = operations(plain["k"].float(), plain["v"].float())
    of_latent = operations(torch.cat([c, k_r], dim=-1), c)
    return [size(plain, "k", "v") / of_multi, size(compressed, "latent", "rotary") / of_latent]


def size(state: State, *names: str) -> int:
    """Bytes of those tensors."""
    return sum(state[name].nbytes for name in names)


def operations(k: Tensor, v: Tensor) -> int:
    """Of one query a head on keys and values [1,Hkv,K,D], as counted."""
    q = torch.zeros(1, HEADS, 1, k.shape[-1])
    return counted(lambda: attention(q, k, v)).flops


@claim(
    302,
    "a decoding step of latent attention does over a hundred times more operations for each byte of its cache than "
    "multi-head attention with the same heads, and a small latent model keeps the loss at a smaller cache",
    uses=(*USES, "saccade.mechanisms.heads.intensity", "saccade.mechanisms.baseline.softmax", "saccade.core.attention"),
)
def run(quick: bool, seed: int) -> Result:
    """Bytes an operation at the sizes of DeepSeek-V3, counted on caches that were filled; a unit is one filled cache.

    Also character models of the two kinds: loss on held-out modules, and bytes a token; a unit is one training run.
    """
    runs, steps, lengths = (3, 80, (64, 96, 128)) if quick else (3, 160, (128, 256, 384, 512))
    units = [bytes_an_operation(1000 * seed + i, length) for i, length in enumerate(lengths)]
    tuning, measure = lines(torch.Generator().manual_seed(TUNED), 256), fresh(seed, 128 if quick else 512)
    rates = RATES[1:] if quick else RATES
    chosen = {name: best_rate(SIZES, mixer, lines, steps, rates, tuning) for name, mixer in MIXERS.items()}
    losses, kept = [], []
    for i in range(runs):
        number = 1000 * seed + i
        models = [train(SIZES, mixer, lines, steps, chosen[name], number) for name, mixer in MIXERS.items()]
        losses.append([loss(model, measure) for model in models])
        kept.append([cached(model) for model in models])
    multi, latent = Reading.grouped(HEADS, WIDTH), Reading.compressed(HEADS, LATENT, ROTARY)
    return Result(
        Comparison("bytes of the cache an operation of a decoding step", units, MAGNITUDES, saving),
        (
            Comparison("nats a character on held-out modules, small models", losses, SAME, drop),
            Comparison("bytes a token in the cache, small models", kept, 2.0, saving),
        ),
        {
            "steps": steps,
            "rates": chosen,
            "losses": losses,
            "operations a byte, by formula": [multi.intensity(), latent.intensity()],
        },
    )
