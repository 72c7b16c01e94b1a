"""[100] Latte: attention through latent variables."""

from __future__ import annotations

import torch

from saccade.mechanisms import mechanism
from saccade.repro.claims.mech_lin.lookup import USES as TASK
from saccade.repro.claims.mech_lin.lookup import Lookup
from saccade.repro.claims.mech_lin.shared import USES, work
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, data, host, right, trained
from saccade.repro.claims.mech_rnn.aaren_401 import decoding
from saccade.repro.host import Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop, gain, saving

BEHIND, LEARNT = 0.05, 0.2
STRETCH, CONSTANT, MEMORY_BAR, STEP_BAR = 8, -0.05, 8.0, 2.0


@claim(
    100,
    "attention through latent variables learns to recall as well as softmax attention, with operations for the next "
    "token and a memory that do not grow with the tokens before it",
    uses=(*USES, *TASK, "saccade.mechanisms.gated", "saccade.repro.claims.mech_rnn.aaren_401"),
)
def run(quick: bool, seed: int) -> Result:
    """Answers of one-layer models to keys that ask for values; costs of decoding and of whole sequences, counted.

    Units: of accuracy a training run of both on the same data, of costs a width of heads. Control: it is not guessing.
    """
    runs, steps, length = (2, 150, 128) if quick else (3, 200, 256)
    task, tests = Lookup(keys=8, values=4, pairs=6), Lookup(keys=8, values=4, pairs=6, rows=512)
    sizes = Sizes(task.vocabulary, dim=32, heads=2, layers=1)
    makes = {name: host(sizes, name) for name in ("softmax", "latte")}
    models, rates = trained(makes, task, steps, RATES, runs, seed)
    fresh = data(tests, MEASURED + seed)
    answers = [[right(model, fresh) for model in pair.values()] for pair in models]
    memory, step, grown, whole = [], [], [], []
    for width in (16, 32, 64):
        far = torch.randn(1, STRETCH * length, 2 * width, generator=torch.Generator().manual_seed(seed))
        near = far[:, :length]
        layers = [mechanism(name, 2 * width, 2) for name in makes]
        late, early = ([decoding(layer, tokens) for layer in layers] for tokens in (far, near))
        memory.append([held for held, _ in late])
        step.append([done for _, done in late])
        grown.append([1.0, late[1][1] / early[1][1]])
        short, long = (work(lambda x=x, layer=layers[1]: layer(x))[0] for x in (near, far))
        whole.append([1.0, long / short / STRETCH])
    return Result(
        Comparison("share of values recalled: softmax, Latte", answers, -BEHIND, gain),
        (
            Comparison(
                "share of values recalled: a guess, Latte", [[1 / task.values, own] for _, own in answers], LEARNT
            ),
            Comparison(f"operations for the token after {STRETCH * length - 1}", step, STEP_BAR, saving),
            Comparison(f"bytes remembered of {STRETCH * length} tokens", memory, MEMORY_BAR, saving),
            Comparison(f"growth of operations for the next token after {STRETCH} times as many", grown, CONSTANT, drop),
            Comparison(f"growth of operations a token on {STRETCH} times as many at once", whole, CONSTANT, drop),
        ),
        {"steps": steps, "rates": rates, "answers": answers},
    )
