"""Sites: their addresses, and models that cannot be reached."""

from __future__ import annotations

import pytest
import torch
import transformers

import saccade as sc
from saccade.hosts.transformers import attach

from .architectures import CASES, build
from .oracle import oracle
from .properties import plain_run

GPTJ = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "rotary_dim": 4, "n_positions": 32}
FALCON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99}
NEO = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 99, "attention_types": [[["global"], 2]]}
FOREIGN = {
    "BloomModel": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99},
    "FalconModel": FALCON,
    "GPTJModel": GPTJ,
    "GPTNeoModel": NEO,
    "MptModel": {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 99},
    "CodeGenModel": GPTJ,
    "DebertaV2Model": {**FALCON, "intermediate_size": 32},
}


@pytest.mark.parametrize("name", CASES)
def test_sites_are_what_calls(name):
    """Every module that computes attention is a site, with the right numbers of heads; addresses are unique."""
    case = build(name)
    lm = attach(case.model)
    seen = {}

    def note(path, heads):
        seen[path] = heads.shape[1]
        return heads

    with oracle(case.model, output=note) as kv_heads:
        plain_run(case)
    assert {site.path: site.heads for site in lm.sites} == seen
    assert {site.path: site.kv_heads for site in lm.sites} == kv_heads
    assert len({site.name for site in lm.sites}) == len(lm.sites)
    assert any(site.main for site in lm.sites)
    for site in lm.sites:
        stack, layer, kind = site.name.split(".")
        assert (stack, int(layer), kind) == (site.stack, site.layer, site.kind)


def test_addresses():
    def names(name):
        return [site.name for site in attach(build(name).model).sites]

    parts = (("encoder", "self"), ("decoder", "self"), ("decoder", "cross"))
    for name in ("t5", "bart", "whisper"):
        assert set(names(name)) == {f"{stack}.{layer}.{kind}" for layer in (0, 1) for stack, kind in parts}
    assert set(names("blip_2")) >= {"vision.0.self", "qformer.1.cross", "text.1.self"}
    assert "text.1.cross" in names("mllama")
    assert names("swin") == ["vision.0.self", "vision.1.self", "vision.2.self"]


@pytest.mark.parametrize("name", FOREIGN)
def test_architectures_that_do_not_dispatch_say_so(name):
    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class(**FOREIGN[name]))
    with pytest.raises(sc.HostError, match="cannot be reached"):
        sc.attach(model)


def test_a_model_without_attention_says_so():
    with pytest.raises(sc.HostError, match="no attention"):
        sc.attach(torch.nn.Linear(2, 2))
    model = transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
    with pytest.raises(sc.HostError, match="no attention"):
        sc.attach(model)


def test_attention_that_is_partly_out_of_reach_is_listed():
    lm = attach(build("siglip").model)
    assert lm.unreachable == ("vision_model.head",)
    with pytest.raises(sc.SiteError, match="cannot be reached"), lm.steer(sc.ScaleHeads(0.0, at="vision_model.head")):
        pass
    with pytest.raises(sc.SiteError, match="there is no site"):
        lm.site("text.9.self")
    assert lm.site("text.1.self").layer == 1
