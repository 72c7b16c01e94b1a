"""[207] Softplus attention with re-weighting: recall among far more tokens than in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import mechanism
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, Draw, data, nats, trained
from saccade.repro.host import IGNORED, Batch
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop

KEY, VALUES, DIM, LENGTH = 8, 4, 32, 16
FACTORS, POWER = (1, 4, 16), 15.0
BAR, RISE, COST = 0.1, -0.1, -0.02


class Recalling(nn.Module):
    """One head of a mechanism without positions, a residual, and values as logits."""

    def __init__(self, name: str, **options: object) -> None:
        super().__init__()
        self.embed = nn.Linear(KEY + VALUES + 1, DIM)
        self.mix = mechanism(name, DIM, 1, positions=None, **options)
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, VALUES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N,KEY+VALUES+1] -> logits [B,N,VALUES]."""
        x = self.embed(tokens)
        logits: Tensor = self.head(self.norm(x + self.mix(x)))
        return logits


def recall(length: int, rows: int = 48) -> Draw:
    """Random unit vectors as keys, each with a value; the last token is one of the keys, whose value is asked."""

    def draw(generator: torch.Generator) -> Batch:
        keys = F.normalize(torch.randn(rows, length, KEY, generator=generator), dim=-1)
        values = torch.randint(VALUES, (rows, length), generator=generator)
        each, chosen = torch.arange(rows), torch.randint(length, (rows,), generator=generator)
        told = torch.cat([keys, F.one_hot(values, VALUES), torch.zeros(rows, length, 1)], dim=-1)
        asked = torch.cat([keys[each, chosen], torch.zeros(rows, VALUES), torch.ones(rows, 1)], dim=-1)
        wanted = torch.full((rows, length + 1), IGNORED)
        wanted[:, -1] = values[each, chosen]
        return torch.cat([told, asked[:, None]], dim=1), wanted

    return draw


@claim(
    207,
    "trained to recall one of 16 tokens, softplus attention that is re-weighted afterwards, without training, keeps "
    "nearly its loss among 16 times as many, where the loss of softmax attention rises",
    uses=(*USES, "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Loss on fresh keys and values after the same training; a unit is a training run of both, on the same data.

    What softplus attention does without re-weighting is in the details.
    """
    runs, steps, rows = (2, 250, 256) if quick else (4, 400, 512)
    makes = {"softmax": lambda: Recalling("softmax"), "plain": lambda: Recalling("softplus", power=None)}
    models, rates = trained(makes, recall(LENGTH), steps, RATES, runs, seed)
    for one in models:
        one["re-weighted"] = Recalling("softplus", power=POWER).eval()
        one["re-weighted"].load_state_dict(one["plain"].state_dict())
    fresh = {factor: data(recall(factor * LENGTH, rows), MEASURED + seed) for factor in FACTORS}
    losses = {
        factor: [{name: nats(model, batch) for name, model in one.items()} for one in models]
        for factor, batch in fresh.items()
    }
    home, far = losses[1], losses[FACTORS[-1]]
    kinds = "softmax", "re-weighted"
    return Result(
        Comparison(
            f"nats of the value asked, among {FACTORS[-1]} times as many",
            [[x[k] for k in kinds] for x in far],
            BAR,
            drop,
        ),
        (
            Comparison(
                f"nats, re-weighted, from the length of training to {FACTORS[-1]} times that",
                [[x["re-weighted"], y["re-weighted"]] for x, y in zip(home, far, strict=True)],
                RISE,
                drop,
            ),
            Comparison("nats at the length of training", [[x[k] for k in kinds] for x in home], COST, drop),
        ),
        {"steps": steps, "rates": rates, "losses by multiple of the length": losses},
    )
