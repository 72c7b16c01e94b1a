import json

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import saccade as sc
from saccade.heads import fingerprint
from saccade.steer import PASTA
from saccade.tasks import task as registry
from saccade.tasks import world
from saccade.zoo.tokenizers import word_tokenizer

LAYERS, COUNT = 2, 40


def untrained(seed: int):
    tokenizer = word_tokenizer(world.lexicon().vocabulary())
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval(), tokenizer


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Folder of a random llama that knows the words of the world."""
    folder = tmp_path_factory.mktemp("reader")
    for part in untrained(0):
        part.save_pretrained(folder)
    return folder


class Even(world.Instructions):
    """Accepts a reply by a rule that some replies of any model follow, and that steering changes."""

    name = "test/even"

    def check(self, example, reply):
        return sum(map(ord, reply)) % 2 == 0


@pytest.fixture(autouse=True)
def even(monkeypatch):
    monkeypatch.setitem(registry._REGISTRY, Even.name, Even)


def by_hand(strength: float, heads, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each example alone, in its own call."""
    lm = sc.attach(*untrained(0))
    found = []
    examples = Even(seed=seed, difficulty=1).examples(COUNT)
    longest = max(len(lm.tokenizer(e.answer)["input_ids"]) for e in examples) + 1
    for example in examples:
        prompt = lm.prompt(example.messages, spans=example.selectors("rule"))
        replies = [lm.generate(prompt, max_new_tokens=longest, do_sample=False)]
        with lm.steer(PASTA("rule", strength=strength, at=heads)):
            replies.append(lm.generate(prompt, max_new_tokens=longest, do_sample=False))
        found.append([Even().check(example, reply) for reply in replies])
    return tuple(np.array(found, dtype=float).T)


def test_accuracy_is_that_of_each_example_alone(saccade, reader, tmp_path):
    heads = sc.HeadSet([(0, 1), (1, 2), (1, 3)], "PASTA", fingerprint(sc.attach(*untrained(0))))
    heads.save(tmp_path / "heads.json")
    given = ["--task", "test/even", "--difficulty", 1, "--seed", 3, "--count", COUNT, "--alpha", 0.02, "--batch", 7]
    done = saccade("eval", reader, *given, "--heads", tmp_path / "heads.json", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    plain, steered = by_hand(50.0, heads, seed=3)
    assert found["baseline"]["accuracy"] == pytest.approx(plain.mean())
    assert found["steered"]["accuracy"] == pytest.approx(steered.mean())
    assert found["gain"]["accuracy"] == pytest.approx(steered.mean() - plain.mean())
    assert (found["fixed"], found["broken"]) == ((steered > plain).sum(), (steered < plain).sum())
    assert found["fixed"] + found["broken"] > 0
    for name in ("baseline", "steered", "gain"):
        low, high = found[name]["interval"]
        assert low < found[name]["accuracy"] < high
    assert found["strength"] == pytest.approx(50.0)
    assert found["settings"]["seed"] == 3


def test_the_terminal_shows_both_and_the_proof(saccade, reader):
    given = ["--task", "world/dialogue", "--set", "turns=3", "--set", 'forms=("capitals",)', "--count", 4]
    done = saccade("eval", reader, *given, "--method", "split-softmax", "--strength", 0.5)
    assert done.exit_code == 0, done.output
    assert "as it is" in done.stdout
    assert "split-softmax, strength 0.5" in done.stdout
    assert "proof: Reallocate" in done.stdout


def test_the_initial_token_needs_no_gold_span(saccade, reader):
    done = saccade("eval", reader, "--task", "world/memory", "--method", "zero-tuning", "--count", 2, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["span"], found["strength"]) == ("bos", 1.5)
    assert found["effect"][0]["calls"] > 0


WRONG = [
    (["--task", "world/nothing"], "no task is named 'world/nothing'; there are"),
    (
        ["--task", "world/memory"],
        "no example of world/memory has a span 'rule'; they have question: choose with --span",
    ),
    (["--task", "world/context", "--span", "golden"], "they have document, gold, gold_document, question, value"),
    (["--task", "world/context", "--method", "magic"], "--method is one of scale, pasta"),
    (["--task", "world/context", "--set", "turns=3"], "world/context has no field 'turns'; its fields are"),
    (["--task", "world/context", "--set", "turns"], "--set is NAME=VALUE"),
    (["--task", "world/instructions", "--alpha", 3], "--alpha is the factor of all that is not emphasised, in (0, 1)"),
    (["--task", "world/instructions", "--alpha", 0.1, "--strength", 2], "found both, or another"),
    (["--task", "algorithmic/mqar", "--span", "key"], "the tokenizer does not know"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_what_cannot_be_done_says_why(saccade, reader, given, message):
    done = saccade("eval", reader, *given, "--count", 3)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_heads_of_another_model_are_refused(saccade, reader, tmp_path):
    other = sc.HeadSet([(0, 1)], "PASTA", fingerprint(sc.attach(*untrained(1))))
    other.save(tmp_path / "other.json")
    given = ["eval", reader, "--task", "world/instructions", "--count", 2, "--heads", tmp_path / "other.json"]
    done = saccade(*given)
    assert done.exit_code == 2
    assert "were found on another model" in " ".join(done.stderr.split())
    (tmp_path / "other.json").write_text('{"7": [0]}')
    done = saccade(*given)
    assert done.exit_code == 2
    assert "lacks 1 of the 1 heads" in " ".join(done.stderr.split())


def test_an_encoder_is_refused(saccade):
    done = saccade("eval", "minilm", "--task", "world/instructions", "--count", 2)
    assert done.exit_code == 2
    assert "needs a model that generates" in done.stderr
