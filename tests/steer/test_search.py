"""Profiling of heads and the search of hyper-parameters, against loops written out."""

from __future__ import annotations

import pytest

import saccade as sc
from saccade.heads import accuracy, certainty, likelihood
from saccade.steer import PASTA, Profile, ZeroTuning

QUIET = {"progress": False}
TEXTS = [["<s> a b [[rule|c d]] e", "<s> [[rule|f]] g"], ["<s> h [[rule|i j k]] l m n", "<s> o [[rule|p]]"]]


@pytest.fixture
def data(lm):
    answers = [["q r", "s"], ["t", "u v w"]]
    return [(lm.prompt(texts, padding_side="left"), words) for texts, words in zip(TEXTS, answers, strict=True)]


def scripted(*values: float):
    """A score that runs the model and returns the next of the values."""
    left = iter(values)

    def score(lm, data) -> float:
        lm(data[0][0])
        return next(left)

    return score


def by_hand(lm, data, method) -> dict[tuple[int, int], float]:
    """Gain in log-probability of every head, each steered alone."""
    plain, gains = likelihood(lm, data), {}
    for layer in range(3):
        for head in range(4):
            with lm.steer(method({layer: [head]})):
                gains[layer, head] = likelihood(lm, data) - plain
    return gains


def test_pasta_profiles_each_head_alone(lm, data) -> None:
    wanted = by_hand(lm, data, lambda at: PASTA("rule", at=at))
    found = PASTA("rule").profile(lm, data, score=likelihood, **QUIET)
    assert {head.place: head.score for head in found} == pytest.approx(wanted, abs=1e-9)
    assert [head.place for head in found] == sorted(wanted, key=wanted.get, reverse=True)
    assert len(set(wanted.values())) == 12
    assert found.belongs_to(lm)


def test_pasta_steers_in_with_its_own_strength(lm, data) -> None:
    wanted = by_hand(lm, data, lambda at: PASTA("rule", strength=7.0, at=at))
    found = PASTA("rule", strength=7.0).profile(lm, data, score=likelihood, **QUIET)
    assert {head.place: head.score for head in found} == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("combine", ["intersection", "union"])
def test_pasta_combines_tasks(lm, data, combine) -> None:
    tasks = {"one": data[:1], "two": data[1:]}
    gains = {name: by_hand(lm, rows, lambda at: PASTA("rule", at=at)) for name, rows in tasks.items()}
    best = [set(sorted(gain, key=gain.get, reverse=True)[:6]) for gain in gains.values()]
    wanted = best[0] & best[1] if combine == "intersection" else best[0] | best[1]
    found = PASTA("rule").profile(lm, tasks, score=likelihood, top=6, combine=combine, **QUIET)
    mean = {place: (gains["one"][place] + gains["two"][place]) / 2 for place in wanted}
    assert {head.place: head.score for head in found} == pytest.approx(mean, abs=1e-9)
    assert [head.place for head in found] == sorted(mean, key=mean.get, reverse=True)


def test_pasta_says_when_tasks_agree_on_no_head(lm, data) -> None:
    score = scripted(0.0, *range(12), 0.0, *range(12, 0, -1))
    with pytest.raises(sc.heads.HeadError, match="no head is among the best 3 of all 2 tasks"):
        PASTA("rule").profile(lm, {"one": data, "two": data}, score=score, top=3, **QUIET)


def test_profiling_is_confined_to_the_heads_given(lm, data) -> None:
    among = sc.HeadSet([(1, 2), (2, 0)])
    found = PASTA("rule").profile(lm, data, among=among, **QUIET)
    assert {head.place for head in found} == {(1, 2), (2, 0)}


def test_zero_tuning_groups_heads_by_the_sign_of_their_gain(lm, data) -> None:
    wanted = by_hand(lm, data, lambda at: ZeroTuning(1.5, at=at))
    profile = ZeroTuning(1.5).profile(lm, data, score=likelihood, **QUIET)
    assert {head.place for head in profile.up} == {place for place, gain in wanted.items() if gain > 0}
    assert {head.place for head in profile.down} == {place for place, gain in wanted.items() if gain < 0}
    assert [head.place for head in profile.down] == sorted(
        (place for place, gain in wanted.items() if gain < 0), key=wanted.get
    )


@pytest.mark.parametrize("score", [likelihood, certainty])
def test_zero_tuning_takes_the_best_gamma_of_the_larger_group(lm, data, score) -> None:
    tuned = ZeroTuning.tune(lm, data, gammas=(0.5, 1.0, 2.0, 4.0), score=score, **QUIET)
    profile = tuned.profile
    assert len(tuned.method.at) == max(len(profile.up), len(profile.down))
    for gamma, found in tuned.scores.items():
        with lm.steer(ZeroTuning(gamma, at=tuned.method.at)):
            assert score(lm, data) == pytest.approx(found, abs=1e-9)
    assert tuned.scores[1.0] == pytest.approx(score(lm, data), abs=1e-6)
    assert tuned.scores[tuned.method.gamma] == max(tuned.scores.values())


def test_zero_tuning_prefers_the_gentlest_of_equal_factors(lm, data) -> None:
    score = scripted(0.0, *([1.0] * 12), 2.0, 2.0, 2.0, 1.0)
    tuned = ZeroTuning.tune(lm, data, gammas=(4.0, 0.5, 0.1, 1.0), score=score, **QUIET)
    assert tuned.method.gamma == 0.5


def test_zero_tuning_says_when_no_head_has_an_effect() -> None:
    with pytest.raises(sc.EditError, match="no head has any effect"):
        _ = Profile(sc.HeadSet([(0, 0, 0.0), (0, 1, 0.0)])).dominant


def test_accuracy_is_the_share_of_greedy_replies(lm, data) -> None:
    right = []
    for prompt, _ in data:
        out = lm.generate(**prompt.inputs, max_new_tokens=3, do_sample=False)
        new = out[:, prompt.input_ids.shape[1] :].tolist()
        right.append((prompt, [new[0], new[1][:2]]))
    assert accuracy(lm, right) == 1.0
    wrong = [[*right[0][1][0][:2], 5 if right[0][1][0][2] != 5 else 6], right[0][1][1]]
    assert accuracy(lm, [(right[0][0], wrong), right[1]]) == 0.75
