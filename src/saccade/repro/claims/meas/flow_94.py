"""[94] Rollout and flow follow importance better than raw attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import Flow, Gradient, Occlusion, RawAttention, Rollout, targets
from saccade.see.agreement import spearman_rho
from saccade.tasks import world

from .encoder import MASK, encoder
from .english import prompt, sentences
from .facts import first_token, reader

BAR = 0.05
METHODS: dict[str, Any] = {"raw": RawAttention(), "rollout": Rollout(), "flow": Flow()}


@claim(
    94,
    "rollout and flow rank input tokens nearer to blank-out and to gradient importance than raw attention of the last "
    "layer does",
    uses=("saccade.see.rollout", "saccade.see.flow", "saccade.see.controls", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """Spearman's rank correlation over the tokens of a prompt, a unit; sizes of importance, as in the paper.

    On `reader`, the first token of an answer that a short document gives. On the real encoder, the state of the first
    verb of a sentence: similarity to itself as other words are masked.
    """
    on_reader = reading(12 if quick else 60, seed)
    on_encoder = encoding(8 if quick else 30, seed)

    def compare(where: str, found: dict[str, Any], method: str) -> Comparison:
        return Comparison(
            f"rank correlation with {where}: raw attention against {method}",
            np.stack([found["raw"], found[method]], 1),
            BAR,
        )

    return Result(
        compare("blank-out, reader", on_reader["blank-out"], "rollout"),
        (
            compare("blank-out, reader", on_reader["blank-out"], "flow"),
            compare("gradients, reader", on_reader["gradients"], "rollout"),
            compare("gradients, reader", on_reader["gradients"], "flow"),
            compare("blank-out, encoder", on_encoder["blank-out"], "rollout"),
            compare("blank-out, encoder", on_encoder["blank-out"], "flow"),
        ),
        {
            where: {
                kind: {name: round(float(values.mean()), 3) for name, values in some.items()}
                for kind, some in found.items()
            }
            for where, found in (("reader", on_reader), ("encoder", on_encoder))
        },
    )


def reading(count: int, seed: int) -> dict[str, dict[str, Any]]:
    """Correlations on the model `reader` by importance and method."""
    lm = reader()
    examples = world.Context(difficulty=1, seed=9_400 + seed).examples(count)
    made = lm.tokenizer.apply_chat_template(
        [one.messages for one in examples],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    inputs = dict(made)
    target = targets.log_probability(torch.tensor([first_token(lm, one.answer) for one in examples]))
    counts = inputs["attention_mask"].bool().clone()
    counts[:, -1] = False
    importance = {
        "blank-out": Occlusion().explain(lm, target=target, **inputs).abs(),
        "gradients": Gradient().explain(lm, target=target, **inputs),
    }
    found = {name: method.explain(lm, **inputs) for name, method in METHODS.items()}
    return {
        kind: {name: ranks(scores, want, counts) for name, scores in found.items()} for kind, want in importance.items()
    }


def encoding(count: int, seed: int) -> dict[str, dict[str, Any]]:
    """The same on the real encoder, for the state of the first verb."""
    lm = encoder()
    drawn = sentences(count, 700 + seed)
    made, words = prompt(lm, drawn)
    verb = torch.tensor([one.pairs["object"][0][1] for one in drawn])[:, None]
    focal = (words == verb) & ((words == verb).long().cumsum(-1) == 1)
    start = focal.float()
    with torch.no_grad():
        state = torch.einsum("bnd,bn->bd", lm(made).last_hidden_state, start)

    def target(output: Any) -> Tensor:
        now = torch.einsum("bnd,bn->bd", output.last_hidden_state, start.to(output.last_hidden_state))
        return torch.cosine_similarity(now, state, dim=-1)

    counts = (words >= 0) & ~focal
    want = Occlusion("token", token_id=MASK, skip=~counts).explain(lm, made, target=target).abs()
    found = {name: method.explain(lm, made, token=start) for name, method in METHODS.items()}
    return {"blank-out": {name: ranks(scores, want, counts) for name, scores in found.items()}}


def ranks(scores: Tensor, importance: Tensor, counts: Tensor) -> Any:
    """Spearman's correlation by sample."""
    rows = zip(scores.double(), importance.double(), counts, strict=True)
    return np.array([spearman_rho(a[keep].numpy(), b[keep].numpy()) for a, b, keep in rows])
