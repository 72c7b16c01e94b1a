"""[47] Cog attention: one head that copies one token and deletes another."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.mechanisms import mechanism
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

TOKENS, TAGS, WIDTH, DIM = 6, 4, 8, 16
RATE, ROWS, BAR, ENOUGH = 1e-2, 64, 0.3, -0.02
HEADS = {"softmax": ("softmax", 1), "cog": ("cog", 1), "two softmax heads": ("softmax", 2)}


def tagged(generator: torch.Generator, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    """Contents with signed tags, then a tag that is asked; wanted is the content tagged +, less the one tagged -.

    Tokens [rows, TOKENS+1, WIDTH+2·TAGS] and contents [rows, WIDTH]. The tag asked stands at one token with each sign,
    other tags with signs at random.
    """
    each = torch.arange(rows)
    content = torch.randn(rows, TOKENS, WIDTH, generator=generator)
    asked = torch.randint(TAGS, (rows, 1), generator=generator)
    other = (asked + torch.randint(1, TAGS, (rows, TOKENS), generator=generator)) % TAGS
    sign = torch.randint(2, (rows, TOKENS), generator=generator).float() * 2 - 1
    plus, minus = torch.rand(rows, TOKENS, generator=generator).argsort(-1)[:, :2].T
    other[each, plus] = other[each, minus] = asked[:, 0]
    sign[each, plus], sign[each, minus] = 1.0, -1.0
    tag = F.one_hot(other, TAGS) * sign[..., None]
    told = torch.cat([content, tag, torch.zeros(rows, TOKENS, TAGS)], dim=-1)
    question = torch.cat([torch.zeros(rows, 1, WIDTH + TAGS), F.one_hot(asked, TAGS)], dim=-1)
    return torch.cat([told, question], dim=1), content[each, plus] - content[each, minus]


def explained(layer: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Share of the variance of what is wanted that the last token's output explains."""
    tokens, wanted = data
    with torch.no_grad():
        return 1 - float(F.mse_loss(layer(tokens)[:, -1, :WIDTH], wanted) / wanted.var())


def learned(name: str, heads: int, steps: int, seed: int) -> nn.Module:
    """A layer and nothing else, trained with AdamW and linear decay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = mechanism(name, WIDTH + 2 * TAGS, heads, head_dim=DIM)
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=RATE, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: 1 - i / steps)
    for _ in range(steps):
        tokens, wanted = tagged(draw)
        F.mse_loss(layer(tokens)[:, -1, :WIDTH], wanted).backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    return layer.eval()


@claim(
    47,
    "one head with signed weights copies a token and deletes another at once, by the tags that a query asks for, at "
    "least as well as two softmax heads; one softmax head of the same size does one of both",
    uses=("saccade.mechanisms.baseline.softmax",),
)
def run(quick: bool, seed: int) -> Result:
    """Variance explained on fresh tokens after the same training; a unit is a training run of all, on the same data."""
    runs, steps = (2, 250) if quick else (4, 500)
    fresh = tagged(torch.Generator().manual_seed(2**30 + seed), 2000)
    found = [
        {kind: explained(learned(*which, steps, 1000 * seed + i), fresh) for kind, which in HEADS.items()}
        for i in range(runs)
    ]
    return Result(
        Comparison("variance explained, one head", [[x["softmax"], x["cog"]] for x in found], BAR),
        (
            Comparison(
                "variance explained, two softmax heads", [[x["two softmax heads"], x["cog"]] for x in found], ENOUGH
            ),
        ),
        {"steps": steps, "explained": found},
    )
