"""Check of a mechanism inside models of transformers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from saccade.testing.subject import Subject

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
STEPS = 5


def check_swap(subject: Subject) -> None:
    """Swapped into a tiny Llama, or BERT, it trains for a few steps; it generates with its state as without."""
    from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

    if "self" in subject.info.patterns:
        trains(subject, BertForMaskedLM(BertConfig(**SIZES)))
    if not subject.info.causal:
        return
    model = trains(subject, LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)))
    if subject.info.decode != "none":
        start = torch.randint(1, 20, (2, 5), generator=torch.Generator().manual_seed(2))
        written, whole = (
            model.generate(start, max_new_tokens=4, do_sample=False, use_cache=cached) for cached in (True, False)
        )
        assert torch.equal(written, whole), "step by step it generates something else"


def trains(subject: Subject, model: Any) -> Any:
    """The model with the mechanism in every layer, after a few steps that lowered its loss."""
    from saccade.swapping import swap

    trial = {} if subject.cls.trial is None else asdict(subject.cls.trial)
    options = {**trial, **dict(subject.options)}
    positions = options.pop("positions", None)
    torch.manual_seed(1)
    swap(model, subject.target, dict.fromkeys(range(SIZES["num_hidden_layers"]), options), positions=positions)
    tokens = torch.randint(1, 20, (3, 9), generator=torch.Generator().manual_seed(0))
    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(STEPS):
        loss = model(input_ids=tokens, labels=tokens).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], f"in {type(model).__name__} the loss went from {losses[0]:.3f} to {losses[-1]:.3f}"
    return model.eval()
