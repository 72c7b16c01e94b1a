"""[358] A sink anchors the graph of attention; kinds of frames, and when they form."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

import saccade as sc
from saccade import zoo
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import trace
from saccade.see.bert import rows
from saccade.see.frames import centralisation, support
from saccade.zoo.copier import Copier

from .encoder import encoder
from .english import prompt, sentences
from .paragraphs_354 import passages

LENGTH = 48
"""Tokens of the decoders' texts."""
QUARTER = 5
"""Checkpoint of the copier at a quarter of its training, of 20 at even distances."""
ANCHOR, KIND, SECOND, FIXED, EARLY = 0.2, 0.1, 0.0, 0.1, 0.0


def graphs(lm: Any, **inputs: Tensor) -> Tensor:
    """Attention of each layer, mean over heads, of texts of one length: ``[L, B, N, N]``."""
    return rows(trace(lm, **inputs)).mean(2)


def losses(graph: Tensor, other: int) -> tuple[float, float]:
    """Connectivity that each of two tokens has the others of: the given one and the first, mean over layers."""
    return float(support(graph, other).mean()), float(support(graph, 0).mean())


def strongest(graph: Tensor) -> int:
    """The token that draws most attention over all layers, but the first."""
    return 1 + int(graph.mean((0, 1, 2))[1:].argmax())


@claim(
    358,
    "in a real encoder the first token, the sink, anchors the graph of attention: without it the graph's algebraic "
    "connectivity falls by 0.2 of itself more than without the strongest other token, and its state is the same in "
    "every text; frames are centralised or distributed; an encoder's has two anchors; frames form early in training",
    uses=("saccade.see.frames", "saccade.see.trace", "saccade.repro.claims.meas.paragraphs_354"),
)
def run(quick: bool, seed: int) -> Result:
    """Units are sentences for the real encoder, sequences for the zoo's copier and coder; no training.

    The graph of a layer is its attention, mean over heads. Frames of the two decoders are compared in their last layer,
    by centralisation; both have rotary positions, so that a difference is not one of the position scheme. The paper's
    encoders, with absolute positions, have bidirectional frames, anchored at both ends: that the last token is then the
    second strongest is asked of ours, which has absolute positions too. A frame is fixed: the anchor's state resembles
    itself across texts (cosine, mean over layers) more than that of [SEP] does, which is as much the same token. Early:
    at a quarter of the copier's training, half of the final gain in centralisation of its last layer is there.
    """
    count = 16 if quick else 60
    lm = encoder()
    anchored, second = [], []
    kept: list[Tensor] = []
    for sentence in sentences(count, 35_800 + seed):
        made, _ = prompt(lm, [sentence])
        graph = graphs(lm, **made.inputs)
        anchored.append(losses(graph, strongest(graph)))
        received = graph[:, 0].mean((0, 1))
        second.append((float(received[1:-1].max()), float(received[-1])))
        with torch.no_grad():
            states = lm(made, output_hidden_states=True).hidden_states[1:-1]
        kept.append(torch.stack([state[0, [-1, 0]] for state in states]))
    states = torch.nn.functional.normalize(torch.stack(kept), dim=-1)
    whole = states.sum(0)
    alike = ((states * (whole - states)).sum(-1) / (count - 1)).mean(1)
    fixed = alike.double().numpy()

    model, tokenizer = zoo.load("copier")
    drawn, _ = Copier().draw(random.Random(f"frames/{seed}"), count, tokenizer)
    copied = drawn.ids[:, :LENGTH]
    stages = [graphs(sc.attach(zoo.load("copier", stage)[0]), input_ids=copied)[-1] for stage in (0, QUARTER)]
    final = graphs(sc.attach(model), input_ids=copied)[-1]
    central = [centralisation(one).double() for one in (*stages, final)]
    copier = [losses(one[None, None], strongest(one[None, None])) for one in final]
    model, tokenizer = zoo.load("coder")
    code = torch.cat([torch.full((count, 1), tokenizer.bos_token_id), passages(tokenizer, count, 358 + seed)], 1)
    coder = centralisation(graphs(sc.attach(model), input_ids=code[:, :LENGTH])[-1]).double()

    def compare(metric: str, units: Any, bar: float) -> Comparison:
        return Comparison(metric, np.asarray(units), bar)

    def pairs(baseline: Tensor, method: Tensor) -> Any:
        return torch.stack([baseline, method], 1).numpy()

    share = "share of the algebraic connectivity that is lost without a token: the strongest other against the sink"
    return Result(
        compare(f"{share}, real encoder", anchored, ANCHOR),
        (
            compare(f"{share}, copier's last layer", copier, ANCHOR),
            compare("likeness of a token's state across texts (cosine): [SEP] against the sink", fixed, FIXED),
            compare("centralisation: coder against copier, both of rotary positions", pairs(coder, central[2]), KIND),
            compare("attention drawn in the encoder: strongest token but the ends against the last", second, SECOND),
            compare(
                "centralisation gained by the copier: half of all against that of a quarter of training",
                pairs((central[2] - central[0]) / 2, central[1] - central[0]),
                EARLY,
            ),
        ),
        {"centralisation of the copier: untrained, quarter, final": [round(float(one.mean()), 3) for one in central]},
    )
