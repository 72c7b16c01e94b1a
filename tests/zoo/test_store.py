"""The shipped models: they load without a network, are small, and do on fresh examples what their cards say."""

import json
from statistics import mean

import pytest
import torch

from saccade import zoo
from saccade.tasks import algorithmic, world
from saccade.zoo.evaluate import accuracy

SHIPPED = zoo.names()
FRESH = 77


def card(name):
    facts = json.loads((zoo.path(name) / "measured.json").read_text())
    return facts, {row["what"]: row["value"] for row in facts["measured"]}


def test_the_copier_is_shipped():
    assert "copier" in SHIPPED


def test_unknown_names_are_refused():
    with pytest.raises(zoo.ZooError, match=r"no model is named 'giant'; there are copier"):
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
    assert card(name)[0]["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", SHIPPED)
def test_checkpoints_outside_the_range_are_refused(name):
    with pytest.raises(zoo.ZooError, match="checkpoints, counted from 0; found 99"):
        zoo.load(name, checkpoint=99)


@pytest.mark.skipif("reader" not in SHIPPED, reason="the reader is not shipped yet")
@pytest.mark.parametrize(
    ("what", "task"),
    [
        ("answer from a document of 4 facts", world.Context(seed=FRESH, difficulty=1)),
        ("answer from a document of 16 facts", world.Context(seed=FRESH, difficulty=3)),
        ("instruction on form, 8 facts", world.Instructions(seed=FRESH, difficulty=2)),
        ("stable facts from the weights", world.Memory(seed=FRESH)),
    ],
)
def test_reader_does_on_a_fresh_seed_what_its_card_says(what, task):
    torch.set_num_threads(1)
    stated = card("reader")[1][what]
    found = accuracy(*zoo.load("reader"), task, 100, batch=50)
    error = (max(stated * (1 - stated), 0.01) * (1 / 100 + 1 / 200)) ** 0.5
    assert abs(found - stated) < 4 * error


def test_copier_learns_induction_between_its_checkpoints():
    """On uniform segments seen twice, which its training data seldom shows alone, only the later checkpoints copy."""
    examples = algorithmic.Induction(difficulty=4, seed=FRESH).examples(60)

    def right(checkpoint):
        model, tokenizer = zoo.load("copier", checkpoint)
        ids = tokenizer([tokenizer.bos_token + e.prompt for e in examples], padding=True, return_tensors="pt")
        made = model(**ids).logits[:, -1].argmax(-1)
        return mean(tokenizer.decode(t) == e.answer for t, e in zip(made, examples, strict=True))

    rows = card("copier")[0]["checkpoints"]
    jump = max(range(1, 20), key=lambda i: rows[i]["foretold"] - rows[i - 1]["foretold"])
    assert right(jump - 3) < 0.4
    assert right(jump + 3) > 0.8


def test_copier_at_full_training_is_its_last_checkpoint():
    last, final = (zoo.load("copier", c)[0].state_dict() for c in (19, None))
    assert all(torch.equal(last[k], final[k]) for k in final)
