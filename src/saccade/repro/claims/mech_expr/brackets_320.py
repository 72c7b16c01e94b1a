"""[320] Stack attention: brackets nested deeper than in training."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.repro.host import IGNORED, Batch, Mixer, Sizes, accuracy, best_rate, train
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import gain

KINDS, ROWS, BAR = 6, 32, 0.2
SHALLOW, DEEP = (24, 6), (48, 16)
"""Length and greatest depth, in training and in the measurement."""
SIZES = Sizes(vocabulary=2 * KINDS, dim=32, layers=2, heads=2)
MIXERS = {"baseline": Mixer("softmax"), "method": Mixer("stack", positions=None)}


def brackets(generator: torch.Generator, rows: int = ROWS, length: int = 24, depth: int = 6) -> Batch:
    """Brackets of several kinds that rise to the greatest depth and close again; each closing one is foretold.

    Symbol c < ``KINDS`` opens, c + ``KINDS`` closes it. Steps go up or down at random between depth 0 and ``depth``,
    first as often as not, at last down to 0, so that the kind of a closing bracket follows from the stack alone.
    """
    coins = torch.rand(rows, length, generator=generator)
    kinds = torch.randint(KINDS, (rows, length), generator=generator)
    stack = torch.zeros(rows, depth + 1, dtype=torch.long)
    height = torch.zeros(rows, dtype=torch.long)
    each = torch.arange(rows)
    line: list[Tensor] = []
    for step in range(length):
        full = torch.tensor([depth]).minimum(torch.tensor([length - step]))[0]
        up = (height == 0) | ((coins[:, step] < 0.6) & (height < full))
        up &= height < full
        height = height + up
        stack[each, height] = torch.where(up, kinds[:, step], stack[each, height])
        line.append(torch.where(up, kinds[:, step], stack[each, height] + KINDS))
        height = height - (~up).long()
    tokens = torch.stack(line, 1)
    wanted = tokens.masked_fill(tokens < KINDS, IGNORED)
    return tokens[:, :-1], wanted[:, 1:]


@claim(
    320,
    "stack attention foretells the closing brackets of strings nested deeper and longer than in training, where "
    "softmax attention of the same size is wrong more often",
    uses=("saccade.repro.host", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on closing brackets; a unit is one training run of both, on the same data."""
    runs, steps = (3, 200) if quick else (6, 1000)
    rates = (1e-2,) if quick else (3e-3, 1e-2)
    tuning = brackets(torch.Generator().manual_seed(2**30), 256, *SHALLOW)
    draw = torch.Generator().manual_seed(2**30 + 1 + seed)
    near, far = brackets(draw, 512, *SHALLOW), brackets(draw, 512, *DEEP)
    chosen = {name: best_rate(SIZES, mixer, brackets, steps, rates, tuning) for name, mixer in MIXERS.items()}
    deep, shallow = [], []
    for i in range(runs):
        models = [train(SIZES, MIXERS[name], brackets, steps, chosen[name], 1000 * seed + i) for name in MIXERS]
        deep.append([accuracy(model, far) for model in models])
        shallow.append([accuracy(model, near) for model in models])
    at_home = gain(torch.tensor(shallow, dtype=torch.float64).numpy())
    return Result(
        Comparison(f"accuracy on closing brackets, depth to {DEEP[1]} after training to {SHALLOW[1]}", deep, BAR),
        details={"steps": steps, "rates": chosen, "at the depth of training": at_home[:2], "accuracies": deep},
    )
