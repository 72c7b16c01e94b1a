"""[108] SHA-RNN: one layer of single-headed attention in a recurrent network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.mechanisms import mechanism
from saccade.mechanisms.recurrent.sha import Boom
from saccade.repro.claims.mech_pos.shared import MEASURED, RATES, USES, data, right, trained
from saccade.repro.host import IGNORED, Batch
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import gain

ALPHABET, LENGTH, ROWS, DIM = 32, 36, 48, 32
BAR, BEHIND = 0.3, 0.1


def repeated(generator: torch.Generator, rows: int = ROWS) -> Batch:
    """Distinct random symbols, then a piece of them again; all of the piece but its first symbol can be foretold."""
    symbols = torch.rand(rows, ALPHABET, generator=generator).argsort(-1)
    first = torch.randint(14, 21, (rows, 1), generator=generator)
    start = (torch.rand(rows, 1, generator=generator) * first).long()
    place = torch.arange(LENGTH)
    back = start + place - first
    line = symbols.gather(1, torch.where(place < first, place, back % first))
    known = (place > first) & (back < first)
    return line[:, :-1], line.masked_fill(~known, IGNORED)[:, 1:]


class Recurrent(nn.Module):
    """An LSTM, attention on what it gave, and the folded feed-forward layer of the paper, each before a residual."""

    def __init__(self, attention: str | None) -> None:
        super().__init__()
        self.embed = nn.Embedding(ALPHABET, DIM)
        self.recur = nn.LSTM(DIM, DIM, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(4))
        self.mix = None if attention is None else mechanism(attention, DIM, 4)
        self.boom = Boom(DIM, 4 * DIM)
        self.head = nn.Linear(DIM, ALPHABET)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N] -> logits [B,N,vocabulary]."""
        x = self.recur(self.norms[0](self.embed(tokens)))[0]
        if self.mix is not None:
            x = x + self.mix(self.norms[1](x))
        x = x + self.boom(self.norms[2](x))
        logits: Tensor = self.head(self.norms[3](x))
        return logits


@claim(
    108,
    "an LSTM with one layer of single-headed attention recalls what came before where an LSTM alone does not, and "
    "about as well as with four heads",
    uses=USES,
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on repeated sequences after the same training; a unit is a training run of all, on the same data."""
    runs, steps = (2, 230) if quick else (3, 500)
    kinds = {"alone": None, "four heads": "softmax", "one head": "sha"}
    makes = {name: lambda kind=kind: Recurrent(kind) for name, kind in kinds.items()}
    models, rates = trained(makes, repeated, steps, RATES, runs, seed)
    fresh = data(lambda generator: repeated(generator, 512), MEASURED + seed)
    accuracies = [{name: right(model, fresh) for name, model in one.items()} for one in models]
    return Result(
        Comparison("symbols recalled: LSTM alone", [[a["alone"], a["one head"]] for a in accuracies], BAR, gain),
        (
            Comparison(
                "symbols recalled: with four heads",
                [[a["four heads"], a["one head"]] for a in accuracies],
                -BEHIND,
                gain,
            ),
        ),
        {"steps": steps, "rates": rates, "accuracies": accuracies},
    )
