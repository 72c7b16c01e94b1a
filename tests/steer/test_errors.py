"""What a wrong hyper-parameter gets."""

from __future__ import annotations

import pytest

import saccade as sc
from saccade.steer import PASTA, SplitSoftmax, TargetShare, ZeroTuning, methods

WRONG = [
    (lambda: PASTA("a", alpha=0.0), "alpha must be in (0, 1), found 0.0"),
    (lambda: PASTA("a", alpha=1.0), "alpha must be in (0, 1), found 1.0"),
    (lambda: PASTA("a", alpha=100.0), "to multiply the span itself give strength"),
    (lambda: PASTA("a", alpha="0.1"), "alpha must be in (0, 1), found '0.1'"),
    (lambda: PASTA("a", strength=0.01), "strength must be a number greater than 1, found 0.01"),
    (lambda: PASTA("a", strength=1.0), "strength must be a number greater than 1"),
    (lambda: PASTA("a", strength=float("inf")), "strength must be a number greater than 1, found inf"),
    (lambda: PASTA("a", strength=True), "strength must be a number"),
    (lambda: PASTA("a", alpha=0.1, strength=10.0), "give one of them"),
    (lambda: PASTA("a", new_tokens="lost"), "new_tokens is one of ('kept', 'scaled'), found 'lost'"),
    (lambda: PASTA(""), "needs the name of a span"),
    (lambda: PASTA(()), "needs the name of a span"),
    (lambda: PASTA(sc.Outside("a")), "needs the name of a span"),
    (lambda: PASTA(3), "needs the name of a span"),
    (lambda: SplitSoftmax(1.1), "k is an exponent in [0, 1] (1 changes nothing, less is more attention), found 1.1"),
    (lambda: SplitSoftmax(-0.1), "found -0.1"),
    (lambda: SplitSoftmax(float("nan")), "found nan"),
    (lambda: SplitSoftmax(None), "found None"),
    (lambda: SplitSoftmax(0.5, ["a"]), "needs the name of a span, or a tuple of names, found ['a']"),
    (lambda: TargetShare("a", 0.0), "share must be in (0, 1), found 0.0"),
    (lambda: TargetShare("a", 1.0), "share must be in (0, 1), found 1.0"),
    (lambda: TargetShare("a", 30), "share must be in (0, 1), found 30"),
    (lambda: TargetShare(None, 0.3), "needs the name of a span"),
    (lambda: ZeroTuning(0.0), "gamma must be a number greater than 0, found 0.0"),
    (lambda: ZeroTuning(-1.0), "gamma must be a number greater than 0, found -1.0"),
    (lambda: ZeroTuning(float("nan")), "gamma must be a number greater than 0, found nan"),
    (lambda: ZeroTuning("2"), "gamma must be a number greater than 0, found '2'"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_hyper_parameters(make, message) -> None:
    with pytest.raises(sc.EditError) as error:
        make()
    assert message in str(error.value)


def test_wrong_searches(lm) -> None:
    with pytest.raises(sc.EditError, match="found gamma=0"):
        ZeroTuning(0.5).profile(lm, [])
    with pytest.raises(sc.EditError, match="at least one gamma"):
        ZeroTuning.tune(lm, [], gammas=())
    with pytest.raises(sc.EditError, match="at least one task"):
        PASTA("a").profile(lm, {})
    with pytest.raises(sc.EditError, match='"intersection" or "union", found \'mean\''):
        PASTA("a").profile(lm, [], combine="mean")


def test_overlapping_spans_have_no_masses_of_their_own(lm) -> None:
    prompt = lm.prompt("<s> a b c d", spans={"one": "a b", "two": "b c"})
    with pytest.raises(sc.EditError, match="overlap"), lm.steer(TargetShare(("one", "two"), 0.5)):
        lm(prompt)


def test_every_method_has_edits_or_generates_and_names_its_source() -> None:
    for method in methods():
        assert callable(getattr(method, "edits", None) or method.generate)
        assert "Source:" in method.__doc__
        assert method.__dataclass_params__.frozen
