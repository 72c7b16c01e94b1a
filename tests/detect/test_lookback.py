"""Lookback Lens against its formula on dense attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detect.conftest import weights
from saccade.detect import DetectError, LookbackLens

PROMPTS = ["<s> [[doc|a b c]] d", "<s> [[doc|k]] l m n o p q", "[[doc|q r s t]]", "<s> [[doc|u v]] w"]
ANSWERS = ["e f g", "h", [9, 10, 11, 12, 13], "i j"]
SAMPLES = list(zip(PROMPTS, ANSWERS, strict=True))


def ratios_of(lm, text: str, answer: str | list[int], span: str) -> np.ndarray:
    """Equation by equation: token t is written by row n + t - 1, which sees n tokens of prompt and t written ones."""
    prompt = lm.prompt(text)
    ids = prompt.input_ids[0].tolist()
    new = lm.tokenizer(answer)["input_ids"] + [lm.tokenizer.eos_token_id] if isinstance(answer, str) else answer
    rows = weights(lm, ids + new)
    found = []
    for t in range(1, len(new)):
        row = rows[:, len(ids) + t - 1]
        context = row[:, : len(ids)][:, prompt.spans[span][0]].mean(-1)
        written = row[:, len(ids) : len(ids) + t].mean(-1)
        found.append(context / (context + written))
    return torch.stack(found).mean(0).numpy() if found else np.ones(len(rows))


@pytest.mark.parametrize("span", ["prompt", "doc"])
def test_the_features_of_a_padded_batch_are_those_of_each_answer(lm, span) -> None:
    found = LookbackLens(lm, span, batch_size=3).features(SAMPLES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [ratios_of(lm, *sample, span) for sample in SAMPLES], atol=3e-6)


def test_absolute_positions_do_not_shift_with_padding() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    import saccade as sc
    from steer.conftest import tiny

    _, tokenizer = tiny()
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=len(tokenizer), initializer_range=0.5)
    ).eval()
    with torch.no_grad(), sc.attach(model, tokenizer) as lm:
        together = LookbackLens(lm).features(SAMPLES)
        np.testing.assert_allclose(together, [ratios_of(lm, *sample, "prompt") for sample in SAMPLES], atol=3e-6)


def test_an_answer_of_one_token_has_nothing_to_look_away_to(lm) -> None:
    assert (LookbackLens(lm).features([(PROMPTS[0], [7])]) == 1.0).all()


def test_the_classifier_is_logistic_regression_on_the_features(lm) -> None:
    labels = [1, 0, 1, 0]
    lens = LookbackLens(lm).fit(SAMPLES, labels)
    wanted = LogisticRegression(max_iter=1000).fit(lens.features(SAMPLES), labels)
    np.testing.assert_allclose(lens.predict_proba(SAMPLES), wanted.predict_proba(lens.features(SAMPLES)), atol=1e-6)
    own = make_pipeline(StandardScaler(), LogisticRegression(C=10.0))
    lens = LookbackLens(lm, classifier=own).fit(SAMPLES, labels)
    assert lens.predict(SAMPLES).tolist() == labels
    assert not hasattr(own[-1], "coef_")


def test_wrong_input_says_what_is_wrong(lm) -> None:
    lens = LookbackLens(lm)
    with pytest.raises(DetectError, match=r"an answer needs at least one token, found \[\]"):
        lens.features([(PROMPTS[0], [])])
    with pytest.raises(DetectError, match="one label for each of the 4 samples"):
        lens.fit(SAMPLES, [1, 0])
