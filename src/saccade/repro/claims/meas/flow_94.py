"""[94] Rollout and flow follow importance better than raw attention."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertForSequenceClassification

import saccade as sc
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
PAD, CLS, HIDDEN, END, DETERMINER = range(5)
PREPOSITIONS, ADJECTIVES, NOUNS = range(5, 9), range(9, 21), range(21, 61)
"""Symbols; even nouns are singular, odd ones plural."""
STEPS, SHORT, BATCH, RATE = 250, 180, 32, 2e-3


@claim(
    94,
    "in an encoder trained to foretell the number of a hidden verb, rollout and flow rank the words nearer to "
    "blank-out and to gradient importance than raw attention of the last layer does",
    uses=("saccade.see.rollout", "saccade.see.flow", "saccade.see.controls", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """A unit is a trained model: the mean over fresh sentences of Spearman's rank correlation over their words.

    The task and the kind of model are the paper's, smaller: a noun phrase that is the subject among prepositional
    phrases with nouns of either number, a BERT of four layers that reads the number off its first token, the first
    token's attention, and sizes of importance. The details have the same for models that were not trained on the task:
    `reader`, a decoder, and the real encoder, in the full form only.
    """
    found = [agreement(1_000 * seed + 10 * number, quick) for number in range(2 if quick else 6)]

    def compare(kind: str, method: str) -> Comparison:
        units = np.array([[one[kind]["raw"], one[kind][method]] for one in found])
        return Comparison(f"rank correlation with {kind}: raw attention against {method}", units, BAR)

    others = {} if quick else {"reader": reading(12, seed), "real encoder": encoding(8, seed)}
    return Result(
        compare("blank-out", "rollout"),
        (compare("blank-out", "flow"), compare("gradients", "rollout"), compare("gradients", "flow")),
        {
            "models": found,
            **{
                where: {
                    kind: {name: round(float(values.mean()), 3) for name, values in some.items()}
                    for kind, some in kinds.items()
                }
                for where, kinds in others.items()
            },
        },
    )


def sentence(rng: random.Random) -> tuple[list[int], int]:
    """A subject among one to three prepositional phrases, and its number."""

    def phrase(number: int) -> list[int]:
        extra = [rng.choice(ADJECTIVES)] if rng.random() < 0.5 else []
        return [DETERMINER, *extra, NOUNS[2 * rng.randrange(len(NOUNS) // 2) + number]]

    number = rng.randrange(2)
    before = [rng.choice(PREPOSITIONS), *phrase(rng.randrange(2))] if rng.random() < 0.4 else []
    words = [CLS, *before, *phrase(number)]
    for _ in range(rng.randrange(1, 3)):
        words += [rng.choice(PREPOSITIONS), *phrase(rng.randrange(2))]
    return [*words, END], number


def batch(rng: random.Random, count: int) -> dict[str, Tensor]:
    """Sentences padded on the right, with their numbers as labels."""
    rows = [sentence(rng) for _ in range(count)]
    ids = pad_sequence([torch.tensor(words) for words, _ in rows], batch_first=True, padding_value=PAD)
    return {
        "input_ids": ids,
        "attention_mask": (ids != PAD).long(),
        "labels": torch.tensor([number for _, number in rows]),
    }


def trained(seed: int, quick: bool) -> Any:
    """A BERT of four layers that foretells the number of the verb."""
    config = BertConfig(
        vocab_size=NOUNS.stop,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config)
    rng, steps = random.Random(f"94/{seed}"), SHORT if quick else STEPS
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / 30))
    for _ in range(steps):
        optimiser.zero_grad()
        model(**batch(rng, BATCH)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()


def agreement(seed: int, quick: bool) -> dict[str, dict[str, float]]:
    """Mean correlations of a trained model by importance and method, and its accuracy."""
    model = trained(seed, quick)
    lm = sc.attach(model)
    inputs = batch(random.Random(f"94/fresh/{seed}"), 24 if quick else 60)
    labels, ids = inputs.pop("labels"), inputs["input_ids"]

    def target(output: Any) -> Tensor:
        found: Tensor = output.logits.softmax(-1).gather(1, labels[:, None])[:, 0]
        return found

    counts = inputs["attention_mask"].bool() & (ids != CLS) & (ids != END)
    importance = {
        "blank-out": Occlusion("token", token_id=HIDDEN, skip=~counts).explain(lm, target=target, **inputs).abs(),
        "gradients": Gradient().explain(lm, target=target, **inputs),
    }
    scores = {name: method.explain(lm, token=0, **inputs) for name, method in METHODS.items()}
    with torch.no_grad():
        right = (lm(**inputs).logits.argmax(-1) == labels).double().mean()
    return {
        "accuracy": {"all": round(float(right), 3)},
        **{
            kind: {name: round(float(ranks(each, want, counts).mean()), 4) for name, each in scores.items()}
            for kind, want in importance.items()
        },
    }


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
