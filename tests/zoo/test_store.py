"""The shipped models: they load without a network, are small, and do on fresh examples what their cards say."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch

from saccade import zoo
from saccade.tasks import algorithmic
from saccade.zoo.card import text
from saccade.zoo.coder import Coder
from saccade.zoo.copier import Copier
from saccade.zoo.evaluate import accuracy
from saccade.zoo.page import page
from saccade.zoo.phenomena import rows
from saccade.zoo.reader import Reader, ReaderBase

SHIPPED = zoo.names()
FRESH = 77
RECIPES = {r.name: r for r in (Coder(), Copier(), Reader(), ReaderBase())}


def card(name):
    facts = json.loads((zoo.path(name) / "measured.json").read_text())
    return facts, {row["what"]: row["value"] for row in facts["measured"]}


def test_what_is_shipped():
    assert SHIPPED == ("coder", "copier", "reader", "reader-base")


def test_the_docs_show_the_cards():
    docs = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert docs.endswith(page()), "write docs/zoo.md again: its head, then `python -m saccade.zoo page`"


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_say_what_was_measured(name):
    shown = (zoo.path(name) / "README.md").read_text(encoding="utf-8")
    assert shown == text(RECIPES[name], card(name)[0])


def test_unknown_names_are_refused():
    with pytest.raises(zoo.ZooError, match=r"no model is named 'giant'; there are coder, copier"):
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


READER_ROWS = (
    "answer from a document of 4 facts",
    "answer from a document of 16 facts",
    "12 documents, answer at 0%",
    "instruction on form, 8 facts",
    "no instruction, 8 facts with 1 injections",
    "instruction followed after 8 turns",
    "instruction followed after 4 replies that did not",
    "`unknown` where 8 facts do not answer",
    "document against weights, asked for context",
    "true label after 8 false demonstrations",
    "stable facts from the weights",
    "arithmetic up to 20",
)


@pytest.fixture(scope="module")
def reader():
    torch.set_num_threads(1)
    return zoo.load("reader")


@pytest.mark.parametrize("what", READER_ROWS)
def test_reader_does_on_a_fresh_seed_what_its_card_says(what, reader):
    (task,) = (task for row, task, _ in rows() if row == what)
    facts, values = card("reader")
    stated, here = values[what], 80
    counted = next(r["count"] for r in facts["measured"] if r["what"] == what)
    found = accuracy(*reader, replace(task, seed=FRESH), here, batch=40)
    middle = (stated * counted + found * here + 2) / (counted + here + 4)
    assert abs(found - stated) < 3.5 * (middle * (1 - middle) * (1 / here + 1 / counted)) ** 0.5


def test_copier_does_on_a_fresh_seed_what_its_card_says():
    with torch.no_grad():
        copied, other, foretold = Copier().losses(*zoo.load("copier"), 256, seed="fresh")
    stated = card("copier")[1]
    assert foretold == pytest.approx(stated["copied symbols foretold"], abs=0.02)
    assert copied == pytest.approx(stated["loss on copied symbols (nats)"], abs=0.1)
    assert other == pytest.approx(stated["loss on other symbols (nats)"], abs=0.1)


def test_coder_does_on_fresh_windows_what_its_card_says():
    """Held-out files of the running Python, whichever it is: the allowance is four standard errors over windows."""
    model, tokenizer = zoo.load("coder")
    facts, stated = card("coder")
    _, losses = Coder().losses(model, tokenizer, 24, seed="fresh")
    counted = next(r["count"] for r in facts["measured"] if r["what"] == "held-out loss (nats a token)")
    error = losses.mean(1).std() * (1 / 24 + 1 / counted) ** 0.5
    assert abs(losses.mean() - stated["held-out loss (nats a token)"]) < 4 * error
    assert stated["held-out bits a byte"] < 0.8 * stated["bits a byte by pairs of tokens counted in the training files"]


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
