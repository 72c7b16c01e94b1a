"""Sets of heads: ranking, set operations, files, controls."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import T5Config, T5ForConditionalGeneration

import saccade as sc
from saccade.heads import Fingerprint, HeadError
from steer.conftest import tiny

PLACES = st.tuples(st.integers(0, 5), st.integers(0, 7))
SCORES = st.floats(-5, 5)
SETS = st.dictionaries(PLACES, SCORES, max_size=20)
MODEL = Fingerprint("Llama", 3, 12, "abc")


def made(scores: dict[tuple[int, int], float]) -> sc.HeadSet:
    return sc.HeadSet([(*place, score) for place, score in scores.items()], "test")


def places(heads: sc.HeadSet) -> set[tuple[int, int]]:
    return {head.place for head in heads}


@pytest.fixture(scope="module")
def lm():
    with torch.no_grad(), sc.attach(*tiny()) as host:
        yield host


@given(SETS, SETS)
def test_set_operations_are_those_of_sets_and_keep_the_rank(one, two) -> None:
    left, right = made(one), made(two)
    assert places(left & right) == one.keys() & two.keys()
    assert places(left | right) == one.keys() | two.keys()
    assert places(left - right) == one.keys() - two.keys()
    for result in (left & right, left | right, left - right):
        scores = [head.score for head in result]
        assert scores == sorted(scores, reverse=True)
        assert all(head.score == one.get(head.place, two.get(head.place)) for head in result)


@given(SETS.filter(bool), st.data())
def test_top_takes_the_best(scores, data) -> None:
    heads = made(scores)
    count = data.draw(st.integers(1, len(heads)))
    assert [head.score for head in heads.top(count)] == sorted(scores.values(), reverse=True)[:count]
    assert len(heads.top(1.0)) == len(heads)
    assert len(heads.top(1e-9)) == 1


@given(SETS, st.sampled_from([None, MODEL]))
def test_files_keep_everything(tmp_path_factory, scores, model) -> None:
    path = tmp_path_factory.mktemp("heads") / "set.json"
    heads = sc.HeadSet([(*place, score) for place, score in scores.items()], "wörter", model)
    heads.save(path)
    assert sc.HeadSet.load(path) == heads


def test_files_are_readable(tmp_path) -> None:
    path = tmp_path / "set.json"
    sc.HeadSet([(3, 1, 0.5), ("decoder.0.cross", 2, 0.25)], "retrieval", MODEL).save(path)
    data = json.loads(path.read_text())
    assert data["heads"] == [[3, 1, 0.5], ["decoder.0.cross", 2, 0.25]]
    assert (data["format"], data["version"], data["kind"]) == ("saccade.heads", 1, "retrieval")
    assert data["model"] == {"name": "Llama", "sites": 3, "heads": 12, "weights": "abc"}
    assert "    [3, 1, 0.5],\n" in path.read_text()


def test_published_head_configurations_load(tmp_path) -> None:
    path = tmp_path / "heads.json"
    path.write_text('{"3": [17, 7], "8": [28]}')
    assert sc.HeadSet.load(path) == sc.HeadSet([(3, 17), (3, 7), (8, 28)])


def test_scores_of_a_tensor() -> None:
    scores = torch.rand(4, 6)
    heads = sc.HeadSet.from_scores(scores, "test")
    assert len(heads) == 24
    assert heads.heads[0].score == float(scores.max())
    assert all(head.score == float(scores[head.place]) for head in heads)
    ragged = sc.HeadSet.from_scores({"vision.0.self": scores[0], 2: scores[1, :3]})
    assert ragged.by_layer().keys() == {"vision.0.self", 2}
    assert len(ragged) == 9


@given(SETS.filter(bool), st.integers(0, 9), st.booleans())
def test_random_controls(scores, seed, by_layer) -> None:
    like, pool = made(scores), sc.HeadSet.from_scores(torch.zeros(6, 16))
    control = sc.HeadSet.random(pool, like, seed, by_layer=by_layer)
    assert len(control) == len(like)
    assert not places(control) & places(like)
    assert control == sc.HeadSet.random(pool, like, seed, by_layer=by_layer)
    if by_layer:
        assert {k: len(v) for k, v in control.by_layer().items()} == {k: len(v) for k, v in like.by_layer().items()}


def test_random_controls_differ_by_seed(lm) -> None:
    like = sc.HeadSet([(0, 1), (2, 3)])
    drawn = {frozenset(places(sc.HeadSet.random(lm, like, seed))) for seed in range(20)}
    assert len(drawn) > 5


def test_it_stands_where_at_can(lm) -> None:
    heads = sc.HeadSet([(0, 1), (2, 3), (2, 0)])
    prompt = lm.prompt("<s> a [[x|b]] c")
    outputs = []
    for at in (heads, {0: [1], 2: [3, 0]}):
        with lm.steer(sc.Scale("x", 9.0, at=at)):
            outputs.append(lm(prompt).logits)
    assert torch.equal(*outputs)


def test_all_heads_of_a_model(lm) -> None:
    assert places(sc.HeadSet.all(lm)) == {(layer, head) for layer in range(3) for head in range(4)}
    assert places(sc.HeadSet.all(lm, at={1: [0, 2]})) == {(1, 0), (1, 2)}
    assert sc.HeadSet.all(lm).belongs_to(lm)


def test_heads_outside_the_main_stack_go_by_site_name() -> None:
    config = T5Config(d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=4, vocab_size=32, decoder_start_token_id=0)
    with sc.attach(T5ForConditionalGeneration(config).eval()) as lm:
        heads = sc.HeadSet.all(lm)
        assert set(heads.by_layer()) == {0, 1} | {f"decoder.{n}.{kind}" for n in (0, 1) for kind in ("self", "cross")}
        cross = sc.HeadSet.all(lm, at="decoder.*.cross")
        assert len(cross) == 8
        assert [len(cross.heads_at(site)) for site in lm.sites if site.kind == "cross"] == [4, 4]
        assert not any(cross.heads_at(site) for site in lm.sites if site.kind == "self")
        layers = sc.HeadSet([(0, 1), (1, 2)])
        assert {site.name: layers.heads_at(site) for site in lm.sites if layers.heads_at(site)} == {
            "encoder.0.self": [1],
            "encoder.1.self": [2],
        }


def test_a_fingerprint_knows_the_weights_but_not_the_precision(lm) -> None:
    same, tokenizer = tiny()
    other, _ = tiny()
    with torch.no_grad():
        other.model.layers[1].self_attn.q_proj.weight[0, 0] += 1
    heads = sc.HeadSet.all(lm)
    with sc.attach(same.to(torch.bfloat16), tokenizer) as low, sc.attach(other, tokenizer) as changed:
        assert heads.belongs_to(low)
        assert not heads.belongs_to(changed)
        with pytest.raises(HeadError, match="different models"):
            _ = heads & sc.HeadSet.all(changed)


def test_it_is_immutable_and_hashable() -> None:
    heads = sc.HeadSet([(0, 1, 2.0)])
    with pytest.raises(AttributeError):
        heads.kind = "other"
    assert len({heads, sc.HeadSet([(0, 1, 2.0)])}) == 1


WRONG = [
    (lambda: sc.HeadSet([(0, 1), (0, 1, 0.5)]), "each head once, but L0H1 came more than once"),
    (lambda: sc.HeadSet([(0, 1, float("nan"))]), "the score of head 1 of 0 is not a number"),
    (lambda: sc.HeadSet([3]), "a head is (layer or site name, head)"),
    (lambda: sc.HeadSet([(0, 1, 2, 3)]), "found (0, 1, 2, 3)"),
    (lambda: sc.HeadSet([(0, 1.5)]), "found (0, 1.5)"),
    (lambda: sc.HeadSet([(0, -1)]), "count from 0, found layer 0, head -1"),
    (lambda: sc.HeadSet([(-1, 0)]), "count from 0, found layer -1, head 0"),
    (lambda: sc.HeadSet([(0, 1)]).top(2), "top(2) of a set of 1 heads: ask for 1 to 1"),
    (lambda: sc.HeadSet([(0, 1)]).top(0), "top(0) of a set of 1 heads"),
    (lambda: sc.HeadSet([(0, 1)]).top(1.5), "a share of the heads lies in (0, 1], found 1.5"),
    (lambda: sc.HeadSet([(0, 1)]).top(True), "a number of heads or a share of them, found True"),
    (lambda: sc.HeadSet([(0, 1)]) & {(0, 1)}, "joined with a HeadSet only, found set"),
    (lambda: sc.HeadSet([(0, 1)]) - sc.HeadSet([("text.0.self", 1)]), "one set names its heads by layer"),
    (lambda: sc.HeadSet.from_scores(torch.zeros(3)), "a tensor [layers, heads], found [3]"),
    (lambda: sc.HeadSet.random(sc.HeadSet([(0, 1)]), sc.HeadSet([(0, 1)])), "only 0 to draw from"),
    (lambda: sc.heads.ZeroAblation(at=None), 'for all of them write at="*"'),
    (lambda: sc.heads.HeadScaling({}), "needs factors as {layer: {head: factor}}, found {}"),
    (lambda: sc.heads.HeadScaling({1: [2]}), "needs factors as"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_sets(make, message) -> None:
    with pytest.raises(HeadError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no heads"),
        ('{"format": "other"}', "holds no heads"),
        ('{"format": "saccade.heads", "version": 9}', "of version 9; this release reads version 1"),
    ],
)
def test_wrong_files(tmp_path, text, message) -> None:
    path = tmp_path / "set.json"
    path.write_text(text)
    with pytest.raises(HeadError, match=message):
        sc.HeadSet.load(path)


def test_heads_that_a_model_lacks(lm) -> None:
    with pytest.raises(sc.SiteError, match="lacks 2 of the 3 heads: L0H4, L9H0"):
        sc.HeadSet([(0, 4), (9, 0), (1, 1)]).check(lm)
    with pytest.raises(sc.SiteError, match="picks no head"):
        sc.HeadSet.all(lm, at="vision.*")
