"""[159] Parallel encoding of contexts raises entropy and loss; a shared sink and selection are to bring both back."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import saccade as sc
from saccade import zoo
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import drop
from saccade.see import ParallelContexts
from saccade.zoo.coder import sources

PREFIX, PIECES, WIDTH, ASKED = 16, 4, 96, 64
KEEP = 2
LOSS, ENTROPY, MENDED, LOWERED = 0.05, 0.1, 0.02, 0.0
"""Bars: parallel against full, then each remedy against parallel; of loss and of entropy, in nats."""


@claim(
    159,
    "encoding pieces of a context in parallel raises the entropy of the attention that reads them, and the loss; a "
    "shared prefix that all pieces see, or reading only the best pieces, lowers both",
    uses=("saccade.see.parallel", "zoo:coder"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `coder`, a unit is a window of held-out source text.

    A window is a prefix of 16 tokens, four pieces of 96, and 64 tokens whose loss and entropy are taken. The naive form
    hides the prefix from the pieces. Nothing is chosen: two pieces are kept.
    """
    main, *also = code(6 if quick else 16, seed)
    return Result(main, tuple(also))


def code(count: int, seed: int) -> list[Comparison]:
    """The comparisons on `coder`."""
    lm = sc.attach(*zoo.load("coder"))
    length = PREFIX + PIECES * WIDTH + ASKED
    rng = random.Random(f"parallel/{seed}")
    texts = [text for text in sources()[1] if len(text) > 4 * length]
    ids: list[list[int]] = []
    while len(ids) < count:
        text = rng.choice(texts)
        start = rng.randrange(len(text) - 4 * length)
        found = lm.tokenizer(text[start : start + 8 * length], add_special_tokens=False)["input_ids"]
        if len(found) >= length:
            ids.append(found[:length])
    pieces = {f"piece.{i}": [(PREFIX + i * WIDTH, PREFIX + (i + 1) * WIDTH)] for i in range(PIECES)}
    spans = sc.Spans.from_ranges(
        {"prefix": [(0, PREFIX)], **pieces, "asked": [(length - ASKED, length)]}, length=length
    )
    rows = torch.tensor(ids)
    read = {}
    for name, method in forms(tuple(pieces)).items():
        places = torch.arange(length)[None] if method is None else method.positions(spans)
        logits, entropy = output(lm, method, spans, input_ids=rows, position_ids=places.expand(count, -1))
        losses = F.cross_entropy(logits[:, -ASKED - 1 : -1].flatten(0, 1), rows[:, -ASKED:].flatten(), reduction="none")
        read[name] = losses.view(count, ASKED).mean(1), entropy[..., -ASKED:].mean((0, 2, 3))
    return compared(read)


def forms(pieces: tuple[str, ...]) -> dict[str, ParallelContexts | None]:
    """What is compared: everything sees everything, and contexts in parallel as they are and with each remedy."""
    return {
        "full": None,
        "parallel": ParallelContexts(pieces, "prefix", sink=False),
        "shared sink": ParallelContexts(pieces, "prefix"),
        "selection": ParallelContexts(pieces, "prefix", sink=False, keep=KEEP, question="asked"),
    }


@torch.no_grad()
def output(lm: Any, method: ParallelContexts | None, spans: sc.Spans, **inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the entropy of each layer, sample, head and row."""
    with ExitStack() as stack:
        if method is not None:
            stack.enter_context(lm.steer(*method.edits(), spans=spans))
        seen = stack.enter_context(lm.watch(sc.Entropy()))
        logits = lm(**inputs).logits
    return logits, seen["entropy"].stack()


def compared(read: dict[str, tuple[Tensor, Tensor]]) -> list[Comparison]:
    """Loss and entropy: full against parallel, parallel against each remedy."""
    found = []
    for kind, what, worse, better in ((0, "loss", LOSS, MENDED), (1, "entropy", ENTROPY, LOWERED)):
        for baseline, method, bar in (
            ("parallel", "full", worse),
            ("parallel", "shared sink", better),
            ("parallel", "selection", better),
        ):
            units = torch.stack([read[baseline][kind], read[method][kind]], 1).double().numpy()
            found.append(Comparison(f"{what}: {baseline} against {method}", units, bar, drop))
    return found
