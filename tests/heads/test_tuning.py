"""Only the chosen heads learn, with the gradients that they have in the whole model."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

import saccade as sc
from saccade.heads import HeadError, HeadSet, tuning

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 60}


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)).double()


def gradients(model):
    ids = torch.arange(22).view(2, 11)
    model.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_are_those_of_the_whole_model_at_the_heads_and_nothing_elsewhere():
    model = llama()
    whole = gradients(model)
    with tuning(sc.attach(model), HeadSet({0: [1], 2: [0, 3]})) as parameters:
        found = gradients(model)
    assert len(parameters) == 8
    heads, shared = {0: [1], 2: [0, 3]}, {0: [0], 2: [0, 1]}
    expected = {}
    for layer in (0, 2):
        for name, some in (("q", heads[layer]), ("k", shared[layer]), ("v", shared[layer])):
            full = f"model.layers.{layer}.self_attn.{name}_proj.weight"
            expected[full] = torch.zeros_like(whole[full])
            for head in some:
                expected[full][8 * head : 8 * head + 8] = whole[full][8 * head : 8 * head + 8]
        full = f"model.layers.{layer}.self_attn.o_proj.weight"
        expected[full] = torch.zeros_like(whole[full])
        for head in heads[layer]:
            expected[full][:, 8 * head : 8 * head + 8] = whole[full][:, 8 * head : 8 * head + 8]
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


def test_the_model_is_free_again_afterwards():
    model = llama()
    model.lm_head.weight.requires_grad_(False)
    whole = gradients(model)
    lm = sc.attach(model)
    with pytest.raises(RuntimeError, match="stop"), tuning(lm, HeadSet({1: [2]})):
        raise RuntimeError("stop")
    again = gradients(model)
    assert set(again) == set(whole)
    for name, gradient in whole.items():
        torch.testing.assert_close(again[name], gradient)


def test_biases_and_further_modules_learn_too():
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**SIZES)).eval()
    first = model.bert.encoder.layer[0]
    with tuning(sc.attach(model), HeadSet({0: [3]}), beside=[first.intermediate]):
        found = gradients(model)
    bias = found["bert.encoder.layer.0.attention.self.query.bias"]
    assert bias[:24].abs().max() == 0
    assert bias[24:].abs().max() > 0
    assert found["bert.encoder.layer.0.intermediate.dense.weight"].abs().max() > 0
    assert len(found) == 9


def test_no_heads_no_tuning():
    with pytest.raises(HeadError, match="found none"), tuning(sc.attach(llama()), HeadSet()):
        pass
