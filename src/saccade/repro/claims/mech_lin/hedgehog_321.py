"""[321] Hedgehog: feature maps that learn to mimic the softmax attention of a trained encoder."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import saccade as sc
from saccade.mechanisms import QKV, View, build, info, masked_softmax
from saccade.mechanisms.linear.kernel import Kernel
from saccade.repro.claims.meas.encoder import encoder
from saccade.repro.claims.meas.english import sentences
from saccade.repro.claims.mech_lin.shared import FEATURES, USES, Plain
from saccade.repro.claims.mech_pos.shared import MEASURED
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import gain, saving
from saccade.swapping.convert import distil_hedgehog
from saccade.swapping.places import placed_in

ROWS = 16
CLOSER, BETTER, LOST, LOST_QUICK = 2.0, 0.2, 0.1, 0.5
Batch = dict[str, Tensor]


class Recording(QKV):
    """Softmax attention that keeps its last queries, keys and view."""

    info = replace(info("softmax"), name="recording", fast="")

    def reference(self, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        self.seen = q, k, view
        return self.weights(q, k, view) @ v

    def weights(self, q: Tensor, k: Tensor, view: View) -> Tensor:
        """softmax(q·k / √d), [B,H,Q,K]."""
        return masked_softmax(q @ k.mT * q.shape[-1] ** -0.5, view.visible())


def texts(tokenizer: Any, rows: int, seed: int) -> Batch:
    """Arguments of the encoder for sentences drawn from ``seed``."""
    made = tokenizer([one.text for one in sentences(rows, seed)], return_tensors="pt", padding=True)
    return {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"]}


@torch.no_grad()
def divergences(model: nn.Module, converted: nn.Module, batch: Batch) -> list[list[float]]:
    """Mean KL(softmax ‖ weights) of every head, in nats: of the best fixed map of ``FEATURES``, of the learned maps."""
    recording = sc.swap(copy.deepcopy(model), Recording)
    recording(**batch)
    learned, rows = placed_in(converted), []
    for name, place in placed_in(recording).items():
        teacher = place.mechanism
        q, k, view = teacher.seen
        fixed = [build(Plain, teacher.shape, feature=feature) for feature in FEATURES]
        aim = teacher.weights(q, k, view)
        apart = torch.stack([divergence(aim, student, q, k, view) for student in (*fixed, learned[name].mechanism)])
        rows += torch.stack([apart[:-1].amin(0), apart[-1]], dim=-1).tolist()
    return rows


def divergence(aim: Tensor, student: Kernel, q: Tensor, k: Tensor, view: View) -> Tensor:
    """KL of each head [H], a mean over the tokens of all samples."""
    least = torch.finfo(q.dtype).tiny
    logs = aim.clamp_min(least).log() - student.weights(q, k, view).clamp_min(least).log()
    rows, seen = (aim * logs).sum(-1), view.rows()
    return rows.mean((0, 2)) if seen is None else rows.transpose(1, 2)[seen].mean(0)


@torch.no_grad()
def embedded(model: nn.Module, batch: Batch) -> Tensor:
    """Mean states of the sentences, [B,dim]."""
    real = batch["attention_mask"][..., None].float()
    states: Tensor = model(**batch).last_hidden_state
    return (states * real).sum(1) / real.sum(1)


@claim(
    321,
    "feature maps taught for some steps to mimic the softmax attention of a real encoder come twice as near to it as "
    "the best fixed map, and the converted encoder gives nearly the embeddings it gave before",
    uses=(*USES, "saccade.swapping.convert.hedgehog", "saccade.repro.claims.meas.english"),
)
def run(quick: bool, seed: int) -> Result:
    """The encoder all-MiniLM-L6-v2 with all layers converted, on new sentences; nothing but the maps is trained.

    Divergence from softmax attention, a unit is a head; cosine of a sentence's embedding with that of the encoder as
    it was, both less the latter's mean over the sentences, a unit is a sentence.
    """
    taught, rows = (10, 32) if quick else (80, 128)
    lm = encoder()
    model, tokenizer = lm.model, lm.tokenizer
    lm.detach()
    test = texts(tokenizer, rows, MEASURED + seed)
    learned = sc.swap(copy.deepcopy(model), "hedgehog")
    losses = distil_hedgehog(learned, (texts(tokenizer, ROWS, 1000 * seed + i) for i in range(taught)))
    aim = embedded(model, test)
    centre = aim.mean(0)

    def kept(converted: nn.Module) -> list[float]:
        near: list[float] = F.cosine_similarity(embedded(converted, test) - centre, aim - centre, dim=-1).tolist()
        return near

    nearness = kept(learned)
    fixed = {name: kept(sc.swap(copy.deepcopy(model), Plain, feature=name)) for name in FEATURES}
    best = max(fixed, key=lambda name: sum(fixed[name]))
    return Result(
        Comparison(
            "nats from softmax attention, best fixed map over learned",
            divergences(model, learned, test),
            CLOSER,
            saving,
        ),
        (
            Comparison(
                "cosine with the embedding before, best fixed map and learned",
                list(zip(fixed[best], nearness, strict=True)),
                BETTER,
                gain,
            ),
            Comparison(
                "cosine with the embedding before, unconverted and learned",
                [[1.0, near] for near in nearness],
                -(LOST_QUICK if quick else LOST),
                gain,
            ),
        ),
        {
            "steps": taught,
            "best fixed map": best,
            "loss of the maps, first and last": [sum(one.values()) / len(one) for one in (losses[0], losses[-1])],
        },
    )
