"""Steering on tasks of lm-evaluation-harness, defined here and read from memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import saccade as sc
from saccade.steer import PASTA, ZeroTuning
from steer.conftest import tiny

datasets = pytest.importorskip("datasets")
lm_eval = pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402

from saccade.evaluation import EvaluationError  # noqa: E402
from saccade.evaluation.harness import SteeredLM  # noqa: E402
from saccade.prompt import Regex  # noqa: E402

TEXTS = ["a b [[rule|c d]] e", "f [[rule|g]] h i j k l m", "[[rule|n o]] p . q r s", "t u v w [[rule|x y z]]"]
PLAIN = [text.replace("[[rule|", "").replace("]]", "") for text in TEXTS]
STRONG = [PASTA("rule", alpha=0.02)]


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return tiny()


def make(parts: tuple[Any, Any], kind: type = SteeredLM, **options: Any) -> Any:
    model, tokenizer = parts
    return kind(model, tokenizer=tokenizer, **{"batch_size": 4, "add_bos_token": None, **options})


def scored(texts: list[str], continuations: list[str]) -> list[Instance]:
    pairs = [(text, one) for text in texts for one in continuations]
    return [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]


def written(texts: list[str]) -> list[Instance]:
    options = {"until": ["."], "max_gen_toks": 6, "do_sample": False}
    return [Instance("generate_until", {}, (text, options), number) for number, text in enumerate(texts)]


CONTINUATIONS = [" a", " b c d", " e f"]


def by_hand(parts: tuple[Any, Any], text: str, continuation: str, edits: Any) -> float:
    """One request on the attached model, without the harness."""
    model, tokenizer = parts
    lm = sc.attach(model, tokenizer)
    prompt = lm.prompt(text, add_special_tokens=True)
    new = tokenizer(continuation, add_special_tokens=False, return_tensors="pt")["input_ids"]
    ids = torch.cat([prompt.input_ids, new], 1)
    members = {
        name: torch.cat([prompt.spans[name], torch.zeros_like(new, dtype=torch.bool)], 1)
        for name in ("rule", "bos")
        if name in prompt.spans
    }
    members["generated"] = torch.arange(ids.shape[1])[None] >= prompt.input_ids.shape[1]
    with torch.no_grad(), lm.steer(*edits, spans=sc.Spans(members)):
        logits = lm(input_ids=ids).logits[0, prompt.input_ids.shape[1] - 1 : -1]
    return float(logits.log_softmax(-1).gather(-1, new[0][:, None]).sum())


@pytest.mark.parametrize("edits", [STRONG, [sc.Scale("rule", 8.0, at={1: [0, 3]})]], ids=["pasta", "scale"])
def test_likelihood_is_that_of_each_request_by_hand(parts, edits) -> None:
    found = make(parts, edits=edits).loglikelihood(scored(TEXTS, CONTINUATIONS), disable_tqdm=True)
    wanted = [by_hand(parts, text, one, edits) for text in TEXTS for one in CONTINUATIONS]
    assert [value for value, _ in found] == pytest.approx(wanted, abs=1e-4)


def test_generation_is_that_of_each_request_by_hand(parts) -> None:
    model, tokenizer = parts
    steered = make(parts, edits=STRONG)
    found = steered.generate_until(written(TEXTS), disable_tqdm=True)
    lm = sc.attach(model, tokenizer)
    for text, reply in zip(TEXTS, found, strict=True):
        with torch.no_grad(), lm.steer(*STRONG):
            alone = lm.generate(lm.prompt(text), max_new_tokens=6, do_sample=False)
        assert reply == alone.split(".")[0]
    assert found != make(parts).generate_until(written(PLAIN), disable_tqdm=True)
    assert steered.effects[0].rows > 0
    assert steered.effects[0][0].after < steered.effects[0][0].before  # on all but the span


@pytest.mark.parametrize("size", [1, 3])
def test_a_batch_of_many_is_one_by_one(parts, size) -> None:
    many, few = make(parts, edits=STRONG), make(parts, edits=STRONG, batch_size=size)
    assert many.generate_until(written(TEXTS), True) == few.generate_until(written(TEXTS), True)
    scores = [lm.loglikelihood(scored(TEXTS, CONTINUATIONS), True) for lm in (many, few)]
    assert [one for one, _ in scores[0]] == pytest.approx([one for one, _ in scores[1]], abs=1e-4)
    assert [greedy for _, greedy in scores[0]] == [greedy for _, greedy in scores[1]]


def test_likelihood_scores_what_generation_writes(parts) -> None:
    """The continuation counts as generated: its greedy tokens are those that steering writes."""
    model, tokenizer = parts
    lm = make(parts, edits=STRONG)
    replies = lm.generate_until(written(TEXTS), True)
    host, readable = sc.attach(model, tokenizer), []
    for text, reply in zip(TEXTS, replies, strict=True):
        prompt = host.prompt(text)
        with torch.no_grad(), host.steer(*STRONG):
            out = host.generate(prompt, max_new_tokens=6, do_sample=False, return_dict_in_generate=True)
        if reply and not set(out.sequences[0, prompt.input_ids.shape[1] :].tolist()) & set(tokenizer.all_special_ids):
            readable.append(Instance("loglikelihood", {}, (text, f" {reply}"), len(readable)))
    assert readable
    assert all(greedy for _, greedy in lm.loglikelihood(readable, True))


@pytest.mark.parametrize("edits", [[sc.Scale("rule", 1.0)], []], ids=["strength 1", "no edit"])
def test_strength_one_is_no_steering(parts, edits) -> None:
    plain, steered = make(parts, HFLM), make(parts, edits=edits)
    assert steered.generate_until(written(TEXTS), True) == plain.generate_until(written(PLAIN), True)
    ours, theirs = (
        lm.loglikelihood(scored(texts, CONTINUATIONS), True) for lm, texts in ((steered, TEXTS), (plain, PLAIN))
    )
    if edits:
        assert [one for one, _ in ours] == pytest.approx([one for one, _ in theirs], abs=1e-5)
    else:
        assert ours == theirs
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("spans", [{"rule": Regex("c d|g|n o|x y z")}, lambda text: {"rule": Regex("c d|g|n o|x y z")}])
def test_spans_may_be_found_by_a_selector_or_a_function(parts, spans) -> None:
    marked, found = make(parts, edits=STRONG), make(parts, edits=STRONG, spans=spans)
    assert found.generate_until(written(PLAIN), True) == marked.generate_until(written(TEXTS), True)
    assert found.loglikelihood(scored(PLAIN, CONTINUATIONS), True) == marked.loglikelihood(
        scored(TEXTS, CONTINUATIONS), True
    )


def test_the_initial_token_is_a_span(parts) -> None:
    edits = [ZeroTuning(0.2)]
    found = make(parts, edits=edits, add_bos_token=True).loglikelihood(scored(["<s> a b c", "<s> d"], [" e f"]), True)
    wanted = [by_hand(parts, text, " e f", edits) for text in ("<s> a b c", "<s> d")]
    assert [one for one, _ in found] == pytest.approx(wanted, abs=1e-4)


def test_spans_stay_in_place_when_a_request_is_cut(parts) -> None:
    """Truncation from the left leaves the tokens of the span that are still there."""
    long = "a b c d e f g h i j k l [[rule|m n]] o p"
    short = "g h i j k l [[rule|m n]] o p"
    cut, whole = make(parts, edits=STRONG, max_length=16), make(parts, edits=STRONG)
    assert cut.generate_until(written([long]), True) == whole.generate_until(written([short]), True)
    pair = [" q r s t u v w"]
    assert cut.loglikelihood(scored([long], pair), True)[0][0] == pytest.approx(
        whole.loglikelihood(scored([short], pair), True)[0][0], abs=1e-4
    )


def test_the_harness_evaluates_a_task(parts) -> None:
    """Accuracy of a multiple-choice task and of a generation task, by ``simple_evaluate``."""
    probe = make(parts, edits=STRONG)
    scores = probe.loglikelihood(scored(TEXTS, CONTINUATIONS), True)
    best = [max(range(3), key=lambda i: scores[3 * row + i][0]) for row in range(len(TEXTS))]
    replies = probe.generate_until(written(TEXTS), True)
    wrong = [(best[0] + 1) % 3, *best[1:]]
    rows = {"text": TEXTS, "choices": [CONTINUATIONS] * 4, "label": wrong, "reply": replies}

    def data(**_: Any) -> Any:
        return datasets.DatasetDict({"test": datasets.Dataset.from_dict(rows)})

    common = {"custom_dataset": data, "test_split": "test", "doc_to_text": "{{text}}", "target_delimiter": ""}
    choice = ConfigurableTask(
        config={
            **common,
            "task": "choice",
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "label",
            "metric_list": [{"metric": "acc"}],
        }
    )
    exact = ConfigurableTask(
        config={
            **common,
            "task": "exact",
            "output_type": "generate_until",
            "doc_to_target": "reply",
            "generation_kwargs": {"until": ["."], "max_gen_toks": 6, "do_sample": False},
            "metric_list": [{"metric": "exact_match"}],
        }
    )
    out = lm_eval.simple_evaluate(make(parts, edits=STRONG), tasks=[choice, exact], bootstrap_iters=0)
    assert out["results"]["choice"]["acc,none"] == 0.75
    assert out["results"]["exact"]["exact_match,none"] == 1.0


WRONG = [
    (
        lambda lm: lm.generate_until(written(["a b c"]), True),
        r"a request has no span 'rule': mark it as \[\[rule\|words",
    ),
    (lambda lm: lm.loglikelihood(scored(["a b c"], [" d"]), True), "ends with 'a b c'"),
    (lambda lm: lm.loglikelihood(scored(["a [[rule|b]]", "[[rule|a]] b"], [" d"]), True), "same text, but other spans"),
    (
        lambda lm: lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("a b",), 0)], True),
        "windows of a text",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=["generate", "likelihood", "ambiguous", "rolling"])
def test_what_cannot_be_steered_says_so(parts, call, message) -> None:
    with pytest.raises(EvaluationError, match=message):
        call(make(parts, edits=STRONG))


def test_requests_without_the_span_may_be_left_alone(parts) -> None:
    lm = make(parts, edits=STRONG, optional=True)
    found = lm.generate_until(written(["a b c", TEXTS[0]]), True)
    assert found[0] == make(parts, HFLM).generate_until(written(["a b c"]), True)[0]
    assert found[1] == make(parts, edits=STRONG).generate_until(written(TEXTS[:1]), True)[0]


def test_automatic_batches_are_refused(parts) -> None:
    with pytest.raises(EvaluationError, match="give batch_size as a number"):
        make(parts, edits=STRONG, batch_size="auto")
