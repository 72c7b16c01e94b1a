"""Scores of a labelled set, ablation, and scans over heads, against plain runs of the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import saccade as sc
from hosts.oracle import oracle
from saccade.heads import HeadScaling, ZeroAblation, accuracy, certainty, importance, likelihood, scan
from steer.conftest import tiny

TEXTS, ANSWERS = ["<s> a b c d e", "<s> f g", "<s> h i j k l m n"], ["q r", "s", "t u v"]


@pytest.fixture
def lm():
    with torch.no_grad(), sc.attach(*tiny()) as host:
        yield host


def plain_log_probabilities(lm, text: str, answer: str) -> Tensor:
    """Of the answer's tokens, by one forward pass without padding."""
    prompt, reply = (lm.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, answer))
    logits = lm.model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)[torch.arange(len(reply)), reply]


def test_likelihood_and_certainty_are_those_of_plain_runs(lm) -> None:
    batch = [(lm.prompt(TEXTS, padding_side="left"), ANSWERS)]
    wanted = [plain_log_probabilities(lm, *pair).sum() for pair in zip(TEXTS, ANSWERS, strict=True)]
    assert likelihood(lm, batch) == pytest.approx(float(torch.stack(wanted).mean()), abs=1e-5)
    entropies = []
    for text in TEXTS:
        p = lm.model(torch.tensor([lm.tokenizer(text)["input_ids"]])).logits[0, -1].softmax(-1)
        entropies.append(-(p * p.log()).sum())
    assert certainty(lm, batch) == pytest.approx(-float(torch.stack(entropies).mean()), abs=1e-5)


def test_batches_do_not_matter(lm) -> None:
    whole = [(lm.prompt(TEXTS, padding_side="left"), ANSWERS)]
    parts = [(lm.prompt(text), [answer]) for text, answer in zip(TEXTS, ANSWERS, strict=True)]
    ids = [(prompt, [lm.tokenizer(answers[0])["input_ids"]]) for prompt, answers in parts]
    assert likelihood(lm, whole) == pytest.approx(likelihood(lm, parts), abs=1e-5)
    assert likelihood(lm, parts) == likelihood(lm, ids)


def zeroed(lm, at: dict[int, list[int]], factor: float = 0.0):
    picked = {site.path: at.get(site.layer, []) for site in lm.sites}

    def edit(path: str, output: Tensor) -> Tensor:
        scale = torch.ones(output.shape[1], dtype=output.dtype)
        scale[picked[path]] = factor
        return output * scale[:, None, None]

    return edit


@pytest.mark.parametrize("at", [{1: [0]}, {0: [1, 2], 2: [3]}, {0: [0, 1, 2, 3]}])
def test_zero_ablation(lm, at) -> None:
    ids = torch.arange(2, 12)[None]
    with oracle(lm.model, output=zeroed(lm, at)):
        wanted = lm.model(ids).logits
    with lm.steer(ZeroAblation(sc.HeadSet(at))) as effect:
        found = lm(input_ids=ids).logits
    assert float((found - wanted).abs().max()) <= 1e-5
    assert float((found - lm.model(ids).logits).abs().max()) > 1e-3
    assert sum(edit.rows for edit in effect) == 10 * len(sc.HeadSet(at))


def test_head_scaling(lm) -> None:
    ids = torch.arange(2, 12)[None]
    halved, doubled = zeroed(lm, {1: [0, 2]}, 0.5), zeroed(lm, {1: [3], 2: [1]}, 2.0)
    with oracle(lm.model, output=lambda path, output: doubled(path, halved(path, output))):
        wanted = lm.model(ids).logits
    with lm.steer(HeadScaling({1: {0: 0.5, 2: 0.5, 3: 2.0}, 2: {1: 2.0}})):
        found = lm(input_ids=ids).logits
    assert float((found - wanted).abs().max()) <= 1e-5


def test_importance_is_the_loss_without_the_head(lm) -> None:
    data = [(lm.prompt(TEXTS, padding_side="left"), ANSWERS)]
    found = importance(lm, data, likelihood, progress=False)
    plain = likelihood(lm, data)
    for head in found:
        with oracle(lm.model, output=zeroed(lm, {head.layer: [head.head]})):
            sums = [plain_log_probabilities(lm, *pair).sum() for pair in zip(TEXTS, ANSWERS, strict=True)]
        assert head.score == pytest.approx(plain - float(torch.stack(sums).mean()), abs=1e-4)
    assert len(found) == 12
    assert found.kind == "importance"


def test_a_scan_shows_progress_only_if_asked(lm, capsys) -> None:
    among = sc.HeadSet([(0, 0), (0, 1)])
    data = [(lm.prompt(TEXTS[0]), ANSWERS[:1])]
    for progress in (False, True):
        scan(lm, data, lambda at: sc.ScaleHeads(0.0, at=at), among=among, progress=progress)
        assert ("heads" in capsys.readouterr().out) == progress


def test_a_scan_refuses_heads_that_are_not_there(lm) -> None:
    with pytest.raises(sc.SiteError, match="lacks 1 of the 1 heads"):
        scan(lm, [], lambda at: sc.ScaleHeads(0.0, at=at), among=sc.HeadSet([(7, 0)]))


def test_wrong_labelled_sets(lm) -> None:
    prompt = lm.prompt(TEXTS[0])
    for data, message in [
        ([], "at least one batch"),
        ([(prompt, ["a", "b"])], "a batch of 1 prompt"),
        ([(prompt, "a")], "a batch of 1 prompt"),
        ([(prompt, [""])], "at least one token"),
    ]:
        with pytest.raises(sc.HostError, match=message):
            accuracy(lm, data)
    lm.model.generation_config.suppress_tokens = [lm.tokenizer("q")["input_ids"][0]]
    with pytest.raises(sc.HostError, match="generation settings kept it from writing the answers"):
        likelihood(lm, [(prompt, ["q"])])
