"""[383] Models of different training come to share spaces, not neurons; attention is less alike than layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see.similarity import attention_similarity, cka, neuron_similarity

from .glass import Glass, Seen, Shape, made, training

PHONES, VARIANTS, WIDTH, FRAMES = 8, 8, 32, 24
"""Eight phones with eight sounds each; sounds are symbols to the models, and vectors of this width to the contrast."""
STEPS, SHORT, BATCH, RATE, TEMPERATURE = 300, 160, 32, 5e-3, 0.2
DIM, LAYERS, HEADS = 32, 2, 2
LEARNT, ROTATED, ATTENTION = 0.1, -0.05, 0.1
Objective = Callable[[Tensor, Tensor], Tensor]


class Speech:
    """A language: a chain of phones with a few likely successors each, and sounds that tell nothing but the phone."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(383)
        self.next = torch.rand(PHONES, PHONES, generator=draw).pow(6)
        self.vectors = F.normalize(torch.randn(PHONES * VARIANTS, WIDTH, generator=draw), dim=-1)

    def utterances(self, count: int, draw: torch.Generator) -> Tensor:
        """Sounds [B, FRAMES + 1]; sound s belongs to phone ``s // VARIANTS``."""
        phones = [torch.randint(PHONES, (count,), generator=draw)]
        while len(phones) <= FRAMES:
            phones.append(torch.multinomial(self.next[phones[-1]], 1, generator=draw)[:, 0])
        line = torch.stack(phones, 1)
        return line * VARIANTS + torch.randint(VARIANTS, line.shape, generator=draw)

    def contrast(self, logits: Tensor, line: Tensor) -> Tensor:
        """Cross-entropy of the vector of the next sound among those of all sounds of the utterance, by cosine."""
        scores = F.normalize(logits, dim=-1) @ self.vectors[line[:, 1:]].transpose(1, 2) / TEMPERATURE
        return F.cross_entropy(scores.flatten(0, 1), torch.arange(FRAMES).repeat(len(line)))


def name(logits: Tensor, line: Tensor) -> Tensor:
    """Cross-entropy of the phone of the next sound."""
    return F.cross_entropy(logits.flatten(0, 1), (line[:, 1:] // VARIANTS).flatten())


@claim(
    383,
    "a contrastive and a predictive model of the same speech come to similar spaces (CKA of layers), but their neurons "
    "are no more alike than those of rotated states, and their attention is less alike than their layers",
    uses=("saccade.see.similarity", "saccade.repro.claims.meas.glass"),
)
def run(quick: bool, seed: int) -> Result:
    """A unit is a pair of models with different initial weights, trained on synthetic utterances of one language.

    The contrastive one tells the next frame from the other frames of its utterance, as Wav2Vec 2.0 does with hidden
    ones; the predictive one names the cluster (the phone) of the next frame, as HuBERT does with hidden ones.
    Similarity is that of layers of the same number, mean over layers, on fresh utterances. Controls: the contrastive
    model with an untrained one, and neurons after a random rotation of the predictive model's states, which leaves CKA
    as it is. Attention is compared by correlation of weights, which is not the scale of CKA; it is as high with an
    untrained model (see the details), as causal rows have much in common: it shows no convergence of attention.
    """
    speech = Speech()
    rows = []
    for number in range(3 if quick else 8):
        start = 1_000 * seed + 10 * number
        fresh = speech.utterances(40 if quick else 80, torch.Generator().manual_seed(38_300 + start))[:, :-1]
        steps = SHORT if quick else STEPS
        contrastive = trained(speech, speech.contrast, WIDTH, start, steps)
        predictive = trained(speech, name, PHONES, start + 1, steps)
        untrained = made(shape(WIDTH), start + 2).eval()
        turn = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(start)))[0]
        with torch.no_grad():
            one, other, control = (model(fresh) for model in (contrastive, predictive, untrained))
        turned = Seen(other.logits, other.weights, tuple(states @ turn for states in other.states))
        rows.append([*alike(one, other), *alike(one, control), alike(one, turned)[1]])
    units = np.array(rows)
    return Result(
        Comparison("CKA of layers: with an untrained model against the pair", units[:, [3, 0]], LEARNT),
        (
            Comparison("similarity of neurons: rotated against the pair as it is", units[:, [6, 1]], ROTATED, drop),
            Comparison("similarity of the pair: layers against attention", units[:, [0, 2]], ATTENTION, drop),
        ),
        {
            "pairs (layers, neurons, attention)": units[:, :3].round(3).tolist(),
            "with an untrained model": units[:, 3:6].round(3).tolist(),
            "neurons, rotated": units[:, 6].round(3).tolist(),
        },
    )


def shape(outputs: int) -> Shape:
    """Of both models."""
    return Shape(PHONES * VARIANTS, outputs, FRAMES, DIM, LAYERS, HEADS, widening=2)


def trained(speech: Speech, objective: Objective, outputs: int, seed: int, steps: int) -> Glass:
    """A model trained to foretell frames by an objective."""
    model = made(shape(outputs), seed)

    def loss(model: Glass, draw: torch.Generator) -> Tensor:
        line = speech.utterances(BATCH, draw)
        return objective(model(line[:, :-1]).logits, line)

    for _ in training(model, loss, steps, RATE, seed):
        pass
    return model.eval()


def alike(one: Seen, other: Seen) -> list[float]:
    """CKA, similarity of neurons and similarity of attention, means over layers of the same number."""
    states = [[layer.flatten(0, 1) for layer in seen.states[1:]] for seen in (one, other)]
    maps = [[layer.transpose(0, 1) for layer in seen.weights] for seen in (one, other)]
    seen = torch.ones(FRAMES, FRAMES, dtype=torch.bool).tril()
    return [
        float(np.mean([cka(a, b) for a, b in zip(*states, strict=True)])),
        float(np.mean([float(neuron_similarity(a, b).mean()) for a, b in zip(*states, strict=True)])),
        float(np.mean([float(attention_similarity(a, b, seen).amax(1).mean()) for a, b in zip(*maps, strict=True)])),
    ]
