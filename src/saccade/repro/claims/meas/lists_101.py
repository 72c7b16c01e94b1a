"""[101] A model that lists answers promotes all of them and suppresses those already said."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import knock_out, stream_logits
from saccade.tasks.world.facts import stable_towns
from saccade.tasks.world.lexicon import lexicon

from .facts import asked, first_token, reader

SAID = [11, 13]
"""Places of the answers already given in ``... <|assistant|> A , B and``."""
QUESTION = [5, 7]
"""As many tokens of the question: ``towns``, and the land."""
BAR_PROMOTED, BAR_SUPPRESSED, BAR_REPEATED = 0.5, 0.2, 0.1


@claim(
    101,
    "answers already said are promoted in the middle layers and suppressed later; when attention to them is knocked "
    "out, the model repeats them",
    uses=("saccade.see.lens", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`, lists of three towns that its weights hold, before the third; a unit is one of 16 lists.

    Promotion is the mean logit of the towns said, over the mean of all cities, by the logit lens of the residual
    stream; the layer of its peak is chosen on every other list, which is then left out. Repetition is the probability
    of the towns said, with and without attention of the last position to them.
    """
    lm = reader()
    lists = list(stable_towns().items())
    order = torch.randperm(len(lists), generator=torch.Generator().manual_seed(seed)).tolist()
    lists = [lists[index] for index in order]
    ids = asked(
        lm, [f"what are the towns of {land}?" for land, _ in lists], [f"{a}, {b} and" for _, (a, b, _) in lists]
    )
    towns = torch.tensor([[first_token(lm, town) for town in some] for _, some in lists])
    cities = torch.tensor([first_token(lm, city) for city in lexicon().cities])
    lens = stream_logits(lm, input_ids=ids)
    said = (lens.gather(2, towns[:, :2].expand(len(lens), -1, -1)).mean(2) - lens[:, :, cities].mean(2)).double()
    peak = int(said[:, ::2].mean(1).argmax())
    said = said[:, 1::2]
    with torch.no_grad():
        whole = lm(input_ids=ids).logits[:, -1].softmax(-1)
    without, control = (hidden(lm, ids, places) for places in (SAID, QUESTION))
    odds = {
        name: p.gather(1, towns[:, :2]).sum(1).double()
        for name, p in (("whole", whole), ("said hidden", without), ("question hidden", control))
    }
    return Result(
        Comparison(
            "probability of towns said: whole against attention to them knocked out",
            pair(odds["whole"], odds["said hidden"]),
            BAR_REPEATED,
        ),
        (
            Comparison(
                "probability of towns said: question hidden against towns hidden",
                pair(odds["question hidden"], odds["said hidden"]),
                0.0,
            ),
            Comparison(
                "logits of towns said: embedding against the layer of their peak",
                pair(said[0], said[peak]),
                BAR_PROMOTED,
            ),
            Comparison(
                "logits of towns said: last layer against the layer of their peak",
                pair(said[-1], said[peak]),
                BAR_SUPPRESSED,
            ),
        ),
        {
            "third town right": float((whole.argmax(-1) == towns[:, 2]).double().mean()),
            "logits of towns said by layer": [round(x, 3) for x in said.mean(1).tolist()],
            "probability of towns said": {name: round(float(value.mean()), 4) for name, value in odds.items()},
        },
    )


def hidden(lm: Any, ids: Tensor, places: list[int]) -> Tensor:
    """Probabilities at the last position when it sees none of some tokens ``[B, V]``."""
    gone = torch.zeros(ids.shape, dtype=torch.bool)
    gone[:, places] = True
    odds: Tensor = knock_out(lm, gone, [-1], input_ids=ids).logits[:, -1].softmax(-1)
    return odds


def pair(baseline: Tensor, method: Tensor) -> Any:
    """Units of two columns."""
    return torch.stack([baseline, method], 1).double().numpy()
