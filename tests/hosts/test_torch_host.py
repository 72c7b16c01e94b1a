"""The host for any torch module that calls scaled_dot_product_attention."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F

import saccade as sc
from saccade.hosts.torch import TorchHost, attach

from .properties import close

SPANS = sc.Spans({"a": torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], dtype=torch.bool)})


class Attention(nn.Module):
    """Causal self-attention with grouped heads, that calls torch through a helper."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv, self.o = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x, edit=None):
        q = self.q(x).view(*x.shape[:2], 4, 4).transpose(1, 2)
        k, v = self.kv(x).view(*x.shape[:2], 2, 2, 4).permute(2, 0, 3, 1, 4)
        if edit is None:
            return self.o(attend(q, k, v).transpose(1, 2).flatten(2))
        logits = q @ k.repeat_interleave(2, 1).transpose(-1, -2) / 2 + edit
        logits = logits.masked_fill(torch.ones(6, 6, dtype=torch.bool).triu(1), -torch.inf)
        return self.o((logits.softmax(-1) @ v.repeat_interleave(2, 1)).transpose(1, 2).flatten(2))


def attend(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(Attention(), nn.ReLU(), Attention())


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(2, 6, 16)


def test_edits_and_measures(model, x):
    plain = model(x)
    lm = sc.attach(model)
    assert isinstance(lm, TorchHost)
    assert [site.name for site in lm.sites] == ["0", "2"]
    with lm.steer(sc.Bias("a", 1.5), spans=SPANS) as effect, lm.watch(sc.Mass(), spans=SPANS) as seen:
        found = lm(x)
    edit = 1.5 * SPANS["a"].float()[:, None, None]
    close(found, model[2](model[1](model[0](x, edit)), edit), "bias")
    assert seen["mass"].stack().shape == (2, 2, 4, 6, 1)
    assert effect.calls == 2
    assert (lm.sites[0].heads, lm.sites[0].kv_heads) == (4, 2)
    assert torch.equal(model(x), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_one_site_only(model, x):
    lm = attach(model)
    with lm.steer(sc.ScaleHeads(0.0, at={1: [2]})):
        found = lm(x)
    weight = model[2].o.weight
    hidden = model[1](model[0](x))
    kept = torch.cat([torch.ones(8), torch.zeros(4), torch.ones(4)])
    values = attend_of(model[2], hidden)
    close(found, values * kept @ weight.T + model[2].o.bias, "head ablation")


def attend_of(module, x):
    q = module.q(x).view(*x.shape[:2], 4, 4).transpose(1, 2)
    k, v = module.kv(x).view(*x.shape[:2], 2, 2, 4).permute(2, 0, 3, 1, 4)
    return attend(q, k, v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("training", [False, True])
def test_multi_head_attention(x, training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train(training)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[1, 4:] = True
    lm = attach(model)
    assert [site.name for site in lm.sites] == ["layers.0.self_attn", "layers.1.self_attn"]
    plain = model(x, src_key_padding_mask=padding)
    with lm.watch(sc.Mass(), sc.Entropy(), spans=SPANS) as seen:
        close(lm(x, src_key_padding_mask=padding)[:, :4], plain[:, :4], "watched")
    _, weights = model.layers[0].self_attn(x, x, x, key_padding_mask=padding, average_attn_weights=False)
    close(seen["mass"].site("layers.0.self_attn")[..., 0], (weights * SPANS["a"][:, None, None]).sum(-1), "mass")
    close(seen["entropy"].site("layers.0.self_attn"), -torch.xlogy(weights, weights).sum(-1), "entropy")


@pytest.mark.parametrize("shape", [(6, 4), (2, 6, 4), (3, 2, 2, 6, 4)])
def test_tensors_of_any_rank(shape):
    class Bare(nn.Module):
        def forward(self, q, k, v, **options):
            return F.scaled_dot_product_attention(q, k, v, **options)

    model = Bare()
    lm = attach(model)
    q, k, v = (torch.randn(shape) for _ in range(3))
    mask = torch.rand(6, 6) > 0.3
    mask.fill_diagonal_(True)
    for options in ({}, {"is_causal": True}, {"attn_mask": mask}, {"scale": 0.1}):
        with lm.watch(sc.Entropy()) as seen:
            close(lm(q, k, v, **options), model(q, k, v, **options), str(options))
        assert len(seen["entropy"]) == 1
    long = torch.randn(*shape[:-2], 9, 4)
    for q, k in ((q, long), (long, q)):
        with lm.watch(sc.Entropy()):
            close(lm(q, k, k, is_causal=True), model(q, k, k, is_causal=True), "causal from the first key")


def test_a_transformers_model_that_calls_torch_itself():
    torch.manual_seed(0)
    config = transformers.FalconConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=99)
    model = transformers.FalconModel(config).eval()
    ids = torch.randint(0, 99, (2, 6))
    with torch.no_grad():
        plain = model(ids).last_hidden_state
        lm = attach(model)
        with lm.steer(sc.Scale("a", 4.0), spans=SPANS) as effect:
            assert not torch.allclose(lm(ids).last_hidden_state, plain)
        assert effect.calls == 2
        assert torch.equal(model(ids).last_hidden_state, plain)


def test_errors(model, x):
    lm = attach(model)
    with pytest.raises(sc.SpanError, match="cover 5 tokens"), lm.steer(sc.Scale("a", 2.0), spans=SPANS.resize(5)):
        lm(x)
    with pytest.raises(sc.EditError, match="not called"), lm.steer(sc.Scale("a", 2.0), spans=SPANS):
        pass
