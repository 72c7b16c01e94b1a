"""The shipped models: they load without a network, are small, and do on fresh examples what their cards say."""

import json

import pytest
import torch

from saccade import zoo

SHIPPED = zoo.names()


def test_unknown_names_are_refused():
    with pytest.raises(zoo.ZooError, match=r"no model is named 'giant'; there are"):
        zoo.path("giant")


@pytest.mark.parametrize("name", SHIPPED)
def test_model_loads_offline_and_is_small(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model, tokenizer = zoo.load(name)
    assert not model.training
    assert next(model.parameters()).dtype == torch.float32
    assert len(tokenizer) == model.config.vocab_size
    folder = zoo.path(name)
    assert sum(f.stat().st_size for f in folder.rglob("*.safetensors")) <= 8 * 2**20
    assert {"README.md", "loss.png", "measured.json"} <= {f.name for f in folder.iterdir()}
    facts = json.loads((folder / "measured.json").read_text())
    assert facts["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", SHIPPED)
def test_checkpoints_outside_the_range_are_refused(name):
    with pytest.raises(zoo.ZooError, match="checkpoints, counted from 0; found 99"):
        zoo.load(name, checkpoint=99)
