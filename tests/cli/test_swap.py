import json

import pytest
import torch
import transformers

import saccade as sc

TEXT = "The room was dirty, but the food was good."


def swap(saccade, model, *more):
    done = saccade("swap", model, "--json", *more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_swapped_model_is_saved_and_used_again(saccade, decoder, tmp_path):
    found = swap(saccade, decoder, "-m", "hedgehog", "--layer", 1, "-o", "chunk=16", "--save", tmp_path, "-t", TEXT)
    assert [(one["site"], one["mechanism"], one["kept"]) for one in found["layers"]] == [
        ("text.1.self", "hedgehog", True)
    ]
    assert found["loss"]["before"] != found["loss"]["after"]
    model = sc.load_swapped(tmp_path)
    assert model.config.saccade["text.1.self"]["chunk"] == 16
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path)(TEXT, return_tensors="pt").input_ids
    with torch.no_grad():
        assert float(model(ids, labels=ids).loss) == pytest.approx(found["loss"]["after"], rel=1e-4)
    seen = saccade("see", tmp_path, "--text", TEXT, "--json")
    assert seen.exit_code == 0, seen.output
    again = swap(saccade, tmp_path, "-m", "lightning", "--layer", 0)
    assert [one["mechanism"] for one in again["layers"]] == ["lightning", "hedgehog"]


def test_softmax_changes_nothing(saccade, decoder):
    loss = swap(saccade, decoder, "-m", "softmax", "-t", TEXT)["loss"]
    assert loss["after"] == pytest.approx(loss["before"], rel=1e-5)


def test_the_terminal_says_what_it_costs(saccade, decoder):
    done = saccade("swap", decoder, "--mechanism", "gated-slots", "--positions", "none")
    assert done.exit_code == 0, done.output
    assert "cost n^1, decodes with a state of constant size" in done.stdout
    assert "its own" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "hedgehok"), "perhaps hedgehog"),
        (("-m", "triadic"), "cannot stand in a decoder"),
        (("-m", "hedgehog", "--layer", "9"), "there is no layer 9"),
        (("-m", "hedgehog", "-o", "chunk"), "--option is name=value"),
        (("-m", "hedgehog", "-o", "colour=red"), "has no option colour"),
        (("-m", "hedgehog", "-t", TEXT, "-f", "x"), "found both"),
    ],
)
def test_errors_that_teach(saccade, decoder, words, message):
    done = saccade("swap", decoder, *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output


def test_an_encoder_refuses_what_is_causal(saccade):
    done = saccade("swap", "minilm", "--mechanism", "lightning")
    assert done.exit_code == 2
    assert "cannot stand in an encoder" in " ".join(done.stderr.split())
