"""[138] Heads that stand for labels, on a toy grammar."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.core.attention import attention
from saccade.core.measures import TopK
from saccade.mechanisms import Projected, mechanism, split_heads
from saccade.mechanisms.heads.label import Label
from saccade.repro.claims.mech_head.shared import MEASURED, train_on
from saccade.repro.host import IGNORED, Batch, Block, Mixer, Sizes
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result

LABELS, WORDS, PHRASES, LENGTH, ROWS = 8, 24, 4, 16, 32
RATE, SAME, PURER = 6e-3, -0.01, 0.2
SIZES = Sizes(vocabulary=WORDS + LABELS, dim=64, layers=1, heads=LABELS, causal=False)


def sentences(generator: torch.Generator, rows: int = ROWS) -> Batch:
    """Four phrases of words, each closed by the marker of its label; every word is to be given the label.

    All words serve all labels, and a sentence has no label twice.
    """
    labels = torch.rand(rows, LABELS, generator=generator).argsort(-1)[:, :PHRASES]
    gaps = torch.rand(rows, LENGTH - 1, generator=generator)
    gaps[:, ::2] = -1
    ends = gaps.topk(PHRASES - 1).indices.sort(-1).values
    ends = torch.cat([ends, torch.full((rows, 1), LENGTH - 1)], dim=1)
    phrase = torch.searchsorted(ends, torch.arange(LENGTH).expand(rows, -1).contiguous())
    label = labels.gather(1, phrase)
    words = torch.randint(WORDS, (rows, LENGTH), generator=generator)
    marker = torch.zeros_like(words, dtype=torch.bool).scatter(1, ends, True)
    return torch.where(marker, WORDS + label, words), label.masked_fill(marker, IGNORED)


class Parser(nn.Module):
    """A block of self-attention, then a layer of label heads or of ordinary heads, then the label of each token."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(SIZES.vocabulary, SIZES.dim)
        self.block, self.norm = Block(SIZES, Mixer("softmax")), nn.LayerNorm(SIZES.dim)
        self.top = mechanism(name, SIZES.dim, SIZES.heads)
        self.read = nn.Sequential(nn.LayerNorm(SIZES.dim), nn.Linear(SIZES.dim, LABELS))

    def below(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states before the top layer [B,N,dim], and as it reads them."""
        x = self.block(self.embed(tokens))
        return x, self.norm(x)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B,N] -> logits of labels [B,N,labels]."""
        x, normed = self.below(tokens)
        logits: Tensor = self.read(x + self.top(normed, causal=False))
        return logits


@torch.no_grad()
def looked_at(model: Parser, tokens: Tensor) -> Tensor:
    """Token that each head of the top layer looks at most, [B,heads,queries]: one query for a label."""
    _, x = model.below(tokens)
    if isinstance(model.top, Label):
        return model.top.weights(x).argmax(-1, keepdim=True)
    assert isinstance(model.top, Projected)
    q, k, v = (split_heads(p(x), model.top.shape.head_dim) for p in (model.top.q, model.top.k, model.top.v))
    return attention(q, k, v, measures=[TopK(1)])["topk"][1][..., 0]


def purity(model: Parser, tokens: Tensor, labels: Tensor) -> float:
    """Mean over heads: how often one looks at its label, where the sentence has it.

    The label of a head is the one it looks at most often in the first half of the sentences; the second half measures.
    """
    places = looked_at(model, tokens)
    seen = F.one_hot(labels[:, None, :].expand(-1, SIZES.heads, -1).gather(-1, places), LABELS).double().mean(dim=2)
    there = F.one_hot(labels, LABELS).amax(dim=1)[:, None].double()
    choose, measure = slice(len(tokens) // 2), slice(len(tokens) // 2, None)
    own = (seen[choose].sum(0) / there[choose].sum(0)).argmax(-1)
    share = seen[measure].sum(0) / there[measure].sum(0)
    return share.gather(-1, own[:, None]).mean().item()


@claim(
    138,
    "a parser of a toy grammar whose top heads are labels is as accurate as one with ordinary heads, and each of its "
    "heads looks mostly at phrases of one label, as ordinary heads do not",
    uses=("saccade.repro.host", "saccade.repro.claims.mech_head.shared", "saccade.mechanisms.baseline.softmax"),
)
def run(quick: bool, seed: int) -> Result:
    """Accuracy on fresh sentences, and purity of heads; a unit is one training run of both, on the same data."""
    runs, steps = (3, 120) if quick else (5, 300)
    tokens, wanted = sentences(torch.Generator().manual_seed(MEASURED + seed), 1024)
    labels = torch.where(wanted == IGNORED, tokens - WORDS, wanted)
    right, pure = [], []
    for i in range(runs):
        models = []
        for name in ("softmax", "label"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1000 * seed + i)
                models.append(Parser(name))
            train_on(models[-1], sentences, steps, RATE, 1000 * seed + i)
        with torch.no_grad():
            asked = wanted != IGNORED
            right.append([float((m(tokens).argmax(-1) == wanted)[asked].double().mean()) for m in models])
        pure.append([purity(model, tokens, labels) for model in models])
    return Result(
        Comparison("accuracy of labels", right, SAME),
        (Comparison("share of a head's looks that go to its label, where a sentence has it", pure, PURER),),
        {"steps": steps, "share of heads that look anywhere": 1 / PHRASES, "accuracies": right, "shares": pure},
    )
