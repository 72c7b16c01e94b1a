"""The training loop: what it computes, that it resumes where it stopped, and what it leaves behind."""

import json
from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from saccade.zoo.attention import short_attention
from saccade.zoo.card import read_log, write_card
from saccade.zoo.copier import Copier
from saccade.zoo.recipe import Batch, Schedule, ZooError, pad
from saccade.zoo.training import Run, loss_of, optimizers


@pytest.fixture(autouse=True, scope="module")
def fresh_accelerator():
    """accelerate keeps one state a process, and other tests train too."""
    AcceleratorState._reset_state(reset_partial_state=True)


TINY = Copier(schedule=Schedule(tokens=16 * 4 * 97), rows=4, snapshots=3)


@pytest.mark.parametrize("length", [1, 100, 128, 300])
def test_short_attention_is_causal_attention_of_grouped_heads(length):
    torch.manual_seed(length)
    q, k, v = (torch.randn(2, h, length, 8, dtype=torch.float64, requires_grad=True) for h in (6, 2, 2))
    ours, _ = short_attention(torch.nn.Module(), q, k, v, None, scaling=0.3)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    probe = torch.randn_like(ours)
    grads = (torch.autograd.grad((x * probe).sum(), (q, k, v)) for x in (ours, theirs))
    torch.testing.assert_close(*grads)


def test_loss_is_the_weighted_mean_of_next_token_losses():
    torch.manual_seed(0)
    logits, batch = (
        torch.randn(2, 3, 5),
        Batch(torch.tensor([[0, 1, 2], [3, 4, 0]]), torch.tensor([[9.0, 1.0, 0.5], [9.0, 2.0, 0.0]])),
    )
    p = logits.log_softmax(-1)
    by_hand = -(p[0, 0, 1] + 0.5 * p[0, 1, 2] + 2 * p[1, 0, 4]) / 3.5
    torch.testing.assert_close(loss_of(logits, batch), by_hand)


def test_pad_is_on_the_right_and_weighs_nothing():
    batch = pad([([1, 2, 3], [0.0, 1.0, 1.0]), ([4], [0.5])], pad_id=7)
    assert batch.ids.tolist() == [[1, 2, 3], [4, 7, 7]]
    assert batch.weights.tolist() == [[0, 1, 1], [0.5, 0, 0]]


def test_schedule_warms_up_stays_and_falls_to_zero():
    s = Schedule(tokens=1, warmup=0.1, decay=0.5)
    assert s.factor(0.05) == pytest.approx(0.5, abs=0.01)
    assert s.factor(0.1) == s.factor(0.5) == 1
    assert s.factor(0.75) == pytest.approx(0.5)
    assert s.factor(1.0) == 0


def test_frozen_parameters_reach_no_optimizer():
    model = TINY.model(TINY.tokenizer())
    trained = {p for o in optimizers(model, TINY.schedule) for g in o.param_groups for p in g["params"]}
    assert trained == {p for n, p in model.named_parameters() if "mlp" not in n}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert Run(TINY, folder).train()
    return folder


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder / "final").state_dict()


def test_a_run_leaves_weights_snapshots_and_a_log(finished):
    log = read_log(finished)
    assert log[-1]["tokens"] >= TINY.schedule.tokens
    assert "foretold" in log[-1]
    assert len(list((finished / "snapshots").glob("*/model.safetensors"))) == 3
    config = json.loads((finished / "final" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert {v.dtype for v in weights(finished).values()} == {torch.bfloat16}


def test_an_interrupted_run_ends_as_an_uninterrupted_one(finished, tmp_path):
    while not Run(TINY, tmp_path).train(minutes=0.001):
        pass
    whole, parts = weights(finished), weights(tmp_path)
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    assert read_log(tmp_path)[-1]["step"] == read_log(finished)[-1]["step"] == 16


def test_learning_lowers_the_loss(tmp_path):
    run = Run(replace(TINY, schedule=Schedule(tokens=10**6, warmup=1e-6)), tmp_path)
    batch = next(run.batches())
    losses = [run.step(batch) for _ in range(12)]
    assert losses[-1] < losses[0] - 0.2


def test_card_reports_what_was_measured(finished):
    text = write_card(TINY, finished).read_text()
    measured = json.loads((finished / "final" / "measured.json").read_text())
    assert (finished / "final" / "loss.png").stat().st_size > 1000
    assert f"{measured['measured'][0]['value']:.3f}" in text
    assert "Two layers of eight heads" in text
    assert measured["seed"] == TINY.seed
    assert measured["tokens"] == read_log(finished)[-1]["tokens"]


def test_card_needs_a_run(tmp_path):
    with pytest.raises(ZooError, match="holds no training run"):
        write_card(TINY, tmp_path)
