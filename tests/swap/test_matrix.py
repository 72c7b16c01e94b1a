"""Every registered mechanism in tiny models: padding, decoding, generation, training, saving, undoing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saccade as sc
from swap.models import LENGTH, make, padded, tokens

NAMES = sc.mechanisms.names()
HOSTS = {"self-causal": ("llama", "gpt_neox"), "self": ("bert",)}
MATRIX = [
    (name, host)
    for name in NAMES
    for pattern, hosts in HOSTS.items()
    if pattern in sc.mechanisms.info(name).patterns
    for host in hosts
]
REFUSED = [(n, h) for n in NAMES for p, hs in HOSTS.items() if p not in sc.mechanisms.info(n).patterns for h in hs]


@torch.no_grad()
def logits(model: Any, **inputs: Any) -> Tensor:
    return model(**inputs).logits


def learned(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if ".mechanism." in name}


@pytest.mark.parametrize(("name", "host"), MATRIX)
def test_a_mechanism_in_a_model(name: str, host: str, tmp_path: Path) -> None:
    model, ids = make(host), tokens(3)
    before = logits(model, input_ids=ids)
    torch.manual_seed(1)
    assert sc.swap(model, name) is model
    check_padding(model, ids, sc.mechanisms.info(name))
    if host != "bert":
        check_decoding(model, ids, sc.mechanisms.info(name))
    check_saving(model, ids, tmp_path)
    check_training(copy.deepcopy(model), ids)
    sc.swap(model, None)
    assert torch.equal(logits(model, input_ids=ids), before)
    assert not hasattr(model.config, "saccade")
    assert not learned(model)


def check_padding(model: Any, ids: Tensor, info: Any) -> None:
    lengths = [LENGTH, 4, 6]
    sides = () if "full" in info.needs else ("right",) if "bert" in model.config.model_type else ("left", "right")
    for side in sides:
        batch = padded(ids, lengths, side)
        together = logits(model, **batch)[batch["attention_mask"].bool()].split(lengths)
        for b, n in enumerate(lengths):
            alone = logits(model, input_ids=ids[b : b + 1, :n])[0]
            torch.testing.assert_close(together[b], alone, rtol=1e-3, atol=1e-4)


def check_decoding(model: Any, ids: Tensor, info: Any) -> None:
    whole = logits(model, input_ids=ids, use_cache=False)
    if info.decode == "none":
        with pytest.raises(sc.MechanismError, match="use_cache=False"):
            model.generate(ids, max_new_tokens=3, do_sample=False)
        assert model.generate(ids, max_new_tokens=3, do_sample=False, use_cache=False).shape == (3, LENGTH + 3)
        return
    with torch.no_grad():
        out = model(input_ids=ids[:, :5], use_cache=True)
        steps, cache = [out.logits], out.past_key_values
        steps += [model(input_ids=ids[:, i : i + 1], past_key_values=cache).logits for i in range(5, LENGTH)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-3, atol=1e-4)
    if "full" in info.needs:
        return
    lengths = [LENGTH, 4, 6]
    batch = padded(ids, lengths, "left")
    del batch["position_ids"]
    together = model.generate(**batch, max_new_tokens=4, do_sample=False)[:, LENGTH:]
    for b, n in enumerate(lengths):
        alone = model.generate(ids[b : b + 1, :n], max_new_tokens=4, do_sample=False)[0, n:]
        assert torch.equal(together[b], alone)


def check_saving(model: Any, ids: Tensor, folder: Path) -> None:
    with torch.no_grad():
        for p in learned(model).values():
            p.add_(torch.randn_like(p), alpha=0.05)
    model.save_pretrained(folder)
    again = sc.load_swapped(folder)
    assert again.config.saccade.keys() == model.config.saccade.keys()
    assert torch.equal(logits(again, input_ids=ids), logits(model, input_ids=ids))


def check_training(model: Any, ids: Tensor) -> None:
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(5):
        loss = model(input_ids=ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for name, p in learned(model).items():
        assert not p.requires_grad or p.grad is not None, f"{name} receives no gradient"


@pytest.mark.parametrize(("name", "host"), REFUSED)
def test_a_model_that_a_mechanism_does_not_serve(name: str, host: str) -> None:
    model = make(host)
    with pytest.raises(sc.MechanismError, match="encoder" if host == "bert" else "decoder"):
        sc.swap(model, name)
    assert not hasattr(model.config, "saccade")
