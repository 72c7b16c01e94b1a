"""[354] Passages learnt by heart: where their gradients are, and the head that recalls them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import saccade as sc
from saccade import zoo
from saccade.heads import ZeroAblation
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.zoo.coder import sources

LENGTH, ASKED, STEPS, RATE, RARE = 64, 32, 25, 1e-3, 0.25
LOWER, NEEDED, LOOKS = 0.005, 0.02, 0.0


def passages(tokenizer: Any, count: int, seed: int) -> Tensor:
    """Passages at random places of held-out files: ``[count, LENGTH]``."""
    rng = random.Random(seed)
    texts = rng.sample(sources()[1], len(sources()[1]))
    found: list[list[int]] = []
    while len(found) < count:
        text = texts[len(found) % len(texts)]
        at = rng.randrange(max(1, len(text) - 1200))
        ids = tokenizer(text[at : at + 1200], add_special_tokens=False)["input_ids"][:LENGTH]
        if len(ids) == LENGTH:
            found.append(ids)
        else:
            texts.remove(text)
    return torch.tensor(found)


def losses(lm: Any, ids: Tensor) -> Tensor:
    """Mean loss of each passage's second half, in nats: ``[passages]``."""
    logits = lm(input_ids=ids).logits[:, ASKED - 1 : -1]
    return F.cross_entropy(logits.transpose(1, 2), ids[:, ASKED:], reduction="none").mean(1)


def low_share(lm: Any, ids: Tensor) -> list[float]:
    """Share of the gradient's norm, summed over layers, that lies in the lower half of them, for each passage."""
    found = []
    for row in ids:
        lm.model.zero_grad()
        losses(lm, row[None]).sum().backward()
        norms = [
            float(torch.stack([p.grad.square().sum() for p in layer.parameters()]).sum().sqrt())
            for layer in lm.model.model.layers
        ]
        found.append(sum(norms[: len(norms) // 2]) / sum(norms))
    return found


def rarity(tokenizer: Any, ids: Tensor) -> Tensor:
    """Which tokens are among the rarest quarter of their passage, by counts in the training files."""
    text = "".join(text[:1500] for text in sources()[0][:120])
    counts = torch.bincount(torch.tensor(tokenizer(text)["input_ids"]), minlength=len(tokenizer))
    seen = counts[ids].double()
    return seen <= seen.quantile(RARE, dim=1, keepdim=True)


@claim(
    354,
    "gradients of passages learnt by heart lie in the lower half of the layers by half a point more of their norm than "
    "those of other passages, and the head without which they are lost most looks at rare tokens more than other heads",
    uses=("saccade.heads.sensitivity", "saccade.heads", "zoo:coder"),
)
def run(quick: bool, seed: int) -> Result:
    """The model `coder`, trained on for 25 steps until it recites some passages that it had not seen; a unit is one of
    them with a passage that it never saw, or one alone. The head is chosen by ablation on half of the passages.

    The paper's passages were learnt in pretraining, among much else.
    """
    count = 8 if quick else 12
    model, tokenizer = zoo.load("coder")
    both = passages(tokenizer, 2 * count, seed)
    known, other = both[:count], both[count:]
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    with sc.attach(model, tokenizer) as lm:
        for _ in range(STEPS):
            F.cross_entropy(lm(input_ids=known).logits[:, :-1].transpose(1, 2), known[:, 1:]).backward()
            optimiser.step()
            optimiser.zero_grad()
        shares = np.stack([low_share(lm, other), low_share(lm, known)], 1)
        with torch.no_grad():
            plain = losses(lm, known)
            rise = torch.stack(
                [torch.stack([_without(lm, known, s.layer, h) for h in range(s.heads)]) for s in lm.sites]
            )
            rise -= plain
            rare = rarity(tokenizer, known)
            with lm.watch(sc.Mass(("rare",)), spans=sc.Spans({"rare": rare})) as seen:
                lm(input_ids=known)
            mass = torch.stack([seen["mass"].site(s.name)[..., ASKED:, 0].mean(-1) for s in lm.sites])
    choose, measure = slice(0, count // 2), slice(count // 2, None)
    layer, head = divmod(int(rise[:, :, choose].mean(-1).argmax()), rise.shape[1])
    needed = torch.stack([rise[:, :, measure].mean((0, 1)), rise[layer, head, measure]], 1).double().numpy()
    looks = torch.stack([mass[:, measure].mean((0, 2)), mass[layer, measure, head]], 1).double().numpy()
    return Result(
        Comparison(
            "share of the gradient's norm in the lower half of the layers: other passages, known ones", shares, LOWER
        ),
        (
            Comparison("nats that known passages lose: without any head, without the chosen one", needed, NEEDED),
            Comparison("attention to the rarest quarter of the tokens: any head, the chosen one", looks, LOOKS),
        ),
        {"head": f"L{layer}H{head}", "loss of known passages": float(plain.mean())},
    )


def _without(lm: Any, ids: Tensor, layer: int, head: int) -> Tensor:
    with lm.steer(ZeroAblation({layer: [head]})):
        return losses(lm, ids)
