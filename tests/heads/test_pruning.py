"""Pruned models compute what zero-ablation does, with fewer parameters, and come back from a folder."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import saccade as sc
from hosts.architectures import loosen
from saccade.heads import HeadError, HeadSet, ZeroAblation, prune

IDS = torch.tensor([[5, 9, 3, 7, 11, 2, 8], [0, 0, 4, 6, 13, 2, 5]])
MASK = (IDS > 0).long()
SIZES = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "vocab_size": 40}


def llama(kv_heads: int = 2, **more):
    config = LlamaConfig(**SIZES, num_attention_heads=6, num_key_value_heads=kv_heads, head_dim=8, **more)
    return ready(LlamaForCausalLM(config))


def qwen():
    """Biases on q, k and v; none on the output."""
    return ready(Qwen2ForCausalLM(Qwen2Config(**SIZES, num_attention_heads=6, num_key_value_heads=2)))


def bert():
    return ready(BertModel(BertConfig(**SIZES, num_attention_heads=6), add_pooling_layer=False))


def ready(model):
    torch.manual_seed(0)
    loosen(model.eval())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.5)
    return model


def outputs(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK)[0][MASK.bool()]


def ablated(model, heads):
    with torch.no_grad(), sc.attach(model) as lm, lm.steer(ZeroAblation(heads)):
        return lm(input_ids=IDS, attention_mask=MASK)[0][MASK.bool()]


UNEVEN = [
    (llama, {0: [0, 1, 2], 2: [3, 4, 5]}),
    (llama, {0: [0, 3], 1: [1, 2, 4, 5]}),
    (lambda: llama(6), {0: [0, 5], 1: [3]}),
    (lambda: llama(1), {0: [0, 5], 2: [1, 2, 3, 4, 5]}),
    (lambda: llama(2, attention_bias=True), {1: [0, 1, 2]}),
    (qwen, {0: [0, 1, 2], 1: [2, 5]}),
    (bert, {0: [0, 5], 1: [1], 2: [0, 1, 2, 3, 4]}),
]


@pytest.mark.parametrize(("make", "at"), UNEVEN)
def test_a_pruned_model_is_an_ablated_one_with_fewer_parameters(make, at) -> None:
    model, heads = make(), HeadSet(at)
    whole, wanted, before = outputs(model), ablated(model, heads), model.num_parameters()
    smaller = prune(sc.attach(model), heads, in_memory=True)
    assert float((outputs(smaller) - wanted).abs().max()) <= 1e-5
    assert float((wanted - whole).abs().max()) > 1e-2
    assert smaller.num_parameters() < before


def test_what_is_removed_is_counted_by_hand() -> None:
    model = llama()
    before = model.num_parameters()
    prune(sc.attach(model), HeadSet({0: [0, 1, 2]}), in_memory=True)
    assert before - model.num_parameters() == 24 * 8 * (3 + 1 + 1 + 3)


@pytest.mark.parametrize(("kv_heads", "at", "left"), [
    (2, {0: [0, 1, 2], 1: [3, 4, 5], 2: [0, 1, 2]}, (3, 1)),
    (2, {0: [0, 3], 1: [1, 4], 2: [2, 5]}, (4, 2)),
    (6, {0: [0, 1], 1: [2, 3], 2: [0, 5]}, (4, 4)),
])  # fmt: skip
def test_saved_and_loaded_by_transformers(tmp_path, kv_heads, at, left) -> None:
    model = prune(sc.attach(llama(kv_heads)), HeadSet(at))
    assert (model.config.num_attention_heads, model.config.num_key_value_heads) == left
    assert model.config.head_dim == 8
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(outputs(again), outputs(model))
    made = [m.generate(IDS[:1], max_new_tokens=5, do_sample=False) for m in (model, again)]
    assert torch.equal(*made)


def test_a_pruned_model_is_attached_again() -> None:
    model = llama()
    old = sc.attach(model)
    prune(old, HeadSet({0: [0, 1, 2]}), in_memory=True)
    with pytest.raises(sc.HostError, match="was detached"), old.watch(sc.Mass()):
        pass
    with sc.attach(model) as lm, torch.no_grad():
        before = lm(input_ids=IDS).logits
        with lm.watch(sc.Entropy()) as seen:
            lm(input_ids=IDS)
        with lm.steer(ZeroAblation({0: [2]})):
            after = lm(input_ids=IDS).logits
    assert [seen["entropy"].site(f"text.{i}.self").shape[1] for i in range(3)] == [3, 6, 6]
    assert not torch.allclose(before, after)


@pytest.mark.parametrize(("make", "at", "message"), [
    (llama, {0: [0]}, "grouped attention needs equally many"),
    (llama, {0: [0, 1, 2, 3, 4, 5]}, "would keep no head"),
    (llama, {0: [0, 1, 2]}, r"layers would keep \[3, 6, 6\] heads"),
    (bert, {0: [0], 1: [0], 2: [0]}, "does not state the width of a head"),
    (llama, {7: [0]}, "lacks 1 of the 1 heads"),
])  # fmt: skip
def test_what_cannot_be_expressed_is_said_and_left_alone(make, at, message) -> None:
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(sc.SaccadeError, match=message):
        prune(sc.attach(model), HeadSet(at))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_other_families_are_refused() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_embd=24, n_layer=2, n_head=4, vocab_size=40)).eval()
    with pytest.raises(HeadError, match="Llama and BERT families"):
        prune(sc.attach(model), HeadSet({0: [1], 1: [1]}))
