"""[117] Trivial patterns make up most of attention, and feign resemblance to people unless they are taken out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see import trace
from saccade.see.bert import rows
from saccade.see.human import Resemblance, by_word, effective, trivial

from .encoder import encoder
from .english import Sentence, prompt, sentences

READERS, MEANT = 60, 0.3
"""Simulated saccades from each word, and the share of them that follow grammar."""
SHARE, RAW, NOTHING, FOUND, MORE = 0.5, 0.2, 0.02, 0.05, 0.03


def saccades(sentence: Sentence, share: float, mirror: bool, draw: torch.Generator) -> Tensor:
    """How often simulated readers go from one word to another, ``[W, W]``, as shares of a word's saccades.

    Most go by distance alone: on, back, to the same word, to the first, or anywhere near. A share follows grammar,
    between a word and its head, to and fro; with ``mirror`` between the same places counted from the end.
    """
    place = [index for index, word in enumerate(sentence.words) if word.isalpha()]
    count = len(place)
    gap = torch.arange(count) - torch.arange(count)[:, None]
    plain = 0.45 * (gap == 1) + 0.2 * (gap == -1) + 0.1 * (gap == 0) + 0.25 / (1 + gap.abs())
    plain[:, 0] += 0.1
    meant = torch.zeros(count, count)
    for pairs in sentence.pairs.values():
        for dependent, head in pairs:
            one, other = place.index(dependent), place.index(head)
            meant[one, other] = meant[other, one] = 1
    if mirror:
        meant = meant.flip(0, 1)
    chance = plain / plain.sum(1, keepdim=True)
    linked = meant.sum(1, keepdim=True)
    chance = torch.where(linked > 0, (1 - share) * chance + share * meant / linked.clamp_min(1), chance)
    gone = torch.multinomial(chance, READERS, replacement=True, generator=draw)
    return torch.nn.functional.one_hot(gone, count).sum(1).double() / READERS


def attention(lm: Any, drawn: list[Sentence]) -> tuple[list[Tensor], list[Tensor]]:
    """Of each sentence, attention among tokens ``[H, N, N]`` and among words ``[H, W, W]``, heads of all layers."""
    made, words = prompt(lm, drawn)
    whole = rows(trace(lm, made)).transpose(0, 1).flatten(1, 2)
    lengths = made.attention_mask.sum(-1).tolist()
    tokens = [one[:, :length, :length] for one, length in zip(whole, lengths, strict=True)]
    return tokens, [
        by_word(one, words[sample, :length]) for sample, (one, length) in enumerate(zip(tokens, lengths, strict=True))
    ]


def untrained(lm: Any) -> Any:
    """The same encoder with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(117)
        return sc.attach(type(lm.model)(lm.model.config).eval(), lm.tokenizer)


def without_trivial(values: Tensor) -> tuple[Tensor, Tensor]:
    """What trivial patterns leave of attention, and the share that they explain; every entry can be seen."""
    length = values.shape[-1]
    return effective(values, trivial(length, causal=False), torch.ones(length, length))


@claim(
    117,
    "trivial patterns (first, last, previous, next, same token, nearness) explain more than half of a real encoder's "
    "attention; simulated reading made of such patterns alone looks like the encoder's attention, and no more so once "
    "they are taken out, while a planted share that follows grammar is then still found; no human data are used",
    uses=("saccade.see.human", "saccade.see.trace", "saccade.see.bert"),
)
def run(quick: bool, seed: int) -> Result:
    """A unit is a sentence; resemblance is the share of variance foretold on sentences other than those of the fit.

    The repository has no human data: the saccades are drawn from a model of reading, so that it is known what a right
    measure finds. Controls: the planted links at mirrored places, with the same distances, and the encoder untrained.
    What the paper finds of larger models, of instruction tuning and of native readers cannot be asked here.
    """
    fitting, measuring = (40, 30) if quick else (150, 100)
    lm = encoder()
    drawn = sentences(fitting + measuring, 11_700 + seed)
    draw = torch.Generator().manual_seed(11_700 + seed)
    people = {
        "trivial": [saccades(one, 0.0, False, draw) for one in drawn],
        "planted": [saccades(one, MEANT, False, draw) for one in drawn],
        "mirrored": [saccades(one, MEANT, True, draw) for one in drawn],
    }
    tokens, words = attention(lm, drawn)
    shares = torch.stack([without_trivial(one)[1].mean() for one in tokens[fitting:]]).numpy()
    heads = {"trained": words, "untrained": attention(untrained(lm), drawn)[1]}
    rest = {name: [without_trivial(one)[0].flatten(1) for one in each] for name, each in heads.items()}

    def score(x: list[Tensor], y: list[Tensor]) -> Any:
        flat = [one.flatten() for one in y]
        return Resemblance().fit(x[:fitting], flat[:fitting]).score(x[fitting:], flat[fitting:])

    raw = score([one.flatten(1) for one in words], people["trivial"])
    left = {name: [without_trivial(one)[0] for one in each] for name, each in people.items()}
    found = {name: score(rest["trained"], each) for name, each in left.items()}
    found["untrained"] = score(rest["untrained"], left["planted"])
    nothing = np.zeros(measuring)

    def compare(metric: str, baseline: Any, method: Any, bar: float) -> Comparison:
        return Comparison(metric, np.stack([baseline, method], 1), bar)

    effect = "resemblance of effective attention"
    return Result(
        compare(
            f"{effect}: reading of trivial patterns against a share of grammar",
            found["trivial"],
            found["planted"],
            FOUND,
        ),
        (
            compare("share of attention that trivial patterns explain, mean over heads", nothing, shares, SHARE),
            compare("resemblance of raw attention to reading of trivial patterns", nothing, raw, RAW),
            Comparison(
                f"{effect} to reading of trivial patterns: what it may be at most against it",
                np.stack([np.full(measuring, NOTHING), found["trivial"]], 1),
                0.0,
                drop,
            ),
            compare(f"{effect}: links at mirrored places against grammar", found["mirrored"], found["planted"], MORE),
            compare(f"{effect} to grammar: untrained against trained", found["untrained"], found["planted"], MORE),
        ),
        {name: round(float(each.mean()), 4) for name, each in {"raw": raw, "share": shares, **found}.items()},
    )
