"""Guided decoding: what the judge is shown, and what becomes of its ratings."""

from __future__ import annotations

import pytest
import torch

import saccade as sc
from detect.conftest import lm, weights  # noqa: F401
from saccade.decode import DecodeError, Guided
from saccade.detect import LookbackLens

TEXTS = ["<s> [[doc|a b c]] d", "<s> [[doc|k]] l m n o p q", "[[doc|q r]] s"]
WORDS = {"suppress_tokens": list(range(7))}
"""No special tokens, so that a text tells its ids."""


class Recorder:
    """Shows what a judge is shown; prefers the candidate with this number."""

    spans = ("doc", "generated")

    def __init__(self, favourite: int, candidates: int) -> None:
        self.favourite, self.candidates, self.calls = favourite, candidates, []

    def rate(self, mass, tokens, inside):
        self.calls.append((mass, tokens, inside))
        return (torch.arange(len(mass)) % self.candidates == self.favourite).float()


def test_one_candidate_is_plain_sampling(lm) -> None:  # noqa: F811
    prompt = lm.prompt(TEXTS)
    torch.manual_seed(1)
    plain = lm.generate(prompt, max_new_tokens=6, do_sample=True)
    torch.manual_seed(1)
    assert Guided(Recorder(0, 1), candidates=1, chunk=6).generate(lm, prompt, max_new_tokens=6) == plain


def test_the_favourite_is_written_and_its_masses_were_shown(lm) -> None:  # noqa: F811
    prompt, judge = lm.prompt(TEXTS), Recorder(2, 3)
    torch.manual_seed(0)
    texts = Guided(judge, candidates=3, chunk=2, options=WORDS).generate(lm, prompt, max_new_tokens=5)
    assert [call[0].shape[2] for call in judge.calls] == [2, 2, 1]
    for sample, text in enumerate(texts):
        new = lm.tokenizer(text)["input_ids"]
        assert len(new) == 5
        one = lm.prompt(TEXTS[sample])
        ids = one.input_ids[0].tolist()
        dense = weights(lm, ids + new)
        for step, (mass, tokens, inside) in enumerate(judge.calls):
            shown = mass[sample * 3 + 2]
            for row in range(shown.shape[1]):
                at = len(ids) + 2 * step + row - 1
                doc = dense[:, at, : len(ids)][:, one.spans["doc"][0]].sum(-1)
                written = dense[:, at, len(ids) :].sum(-1)
                torch.testing.assert_close(shown[:, row].double(), torch.stack([doc, written], -1), atol=3e-6, rtol=0)
                size = [int(one.spans["doc"].sum()), 2 * step + row]
                assert tokens[sample * 3 + 2, row].tolist() == size
            assert inside.all()


def test_a_finished_text_leaves_the_others_going(lm) -> None:  # noqa: F811
    prompt = lm.prompt(TEXTS)
    torch.manual_seed(0)
    first = lm.generate(prompt, max_new_tokens=1, do_sample=True)
    lm.model.generation_config.eos_token_id = lm.tokenizer(first[1])["input_ids"]
    judge = Recorder(0, 1)
    torch.manual_seed(0)
    texts = Guided(judge, candidates=1, chunk=1).generate(lm, prompt, max_new_tokens=3)
    assert [len(call[0]) for call in judge.calls][:2] == [3, 2]
    assert texts[1] == first[1]


def test_a_lens_judges_a_chunk_as_it_judges_the_answer(lm) -> None:  # noqa: F811
    prompt = lm.prompt(TEXTS)
    lens = LookbackLens(lm, "doc").fit([(text, [5, 6, 7 + i]) for i, text in enumerate(TEXTS)], [0, 1, 1])
    rated = []

    class Watched:
        spans = lens.spans

        def rate(self, mass, tokens, inside):
            rated.append(lens.rate(mass, tokens, inside))
            return rated[-1]

    texts = Guided(Watched(), candidates=1, chunk=4, options=WORDS).generate(lm, prompt, max_new_tokens=4)
    samples = [(text, lm.tokenizer(new)["input_ids"]) for text, new in zip(TEXTS, texts, strict=True)]
    wanted = torch.from_numpy(lens.predict_proba(samples)[:, 1])
    torch.testing.assert_close(rated[0].double(), wanted.double(), atol=1e-5, rtol=0)


def test_an_open_steer_acts_on_every_chunk(lm) -> None:  # noqa: F811
    prompt, judge = lm.prompt(TEXTS), Recorder(0, 2)
    with lm.steer(sc.Mask("doc", queries="generated")) as effect:
        Guided(judge, candidates=2, chunk=2, options=WORDS).generate(lm, prompt, max_new_tokens=5)
    first, *later = [row for mass, _, _ in judge.calls for row in mass[..., 0].amax((0, 1))]
    assert first > 0
    assert torch.stack(later).max() == 0
    assert effect.calls == 3 * (1 + 2 + 1)


@pytest.mark.parametrize("options", [{"candidates": 0}, {"chunk": 0}, {"temperature": 0.0}])
def test_wrong_numbers_are_refused(options) -> None:
    with pytest.raises(DecodeError, match="Guided needs candidates >= 1"):
        Guided(Recorder(0, 1), **options)


def test_a_batch_padded_on_the_right_is_refused(lm) -> None:  # noqa: F811
    with pytest.raises(DecodeError, match="padded on the left"):
        Guided(Recorder(0, 1), candidates=1).generate(lm, lm.prompt(TEXTS, padding_side="right"))
