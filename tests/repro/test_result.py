"""Verdicts follow from numbers; records say what they were made with."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from saccade.repro import ClaimError, Comparison, Result, claimed, find, run
from saccade.repro import record as records
from saccade.repro.registry import Claim
from saccade.repro.result import pool
from saccade.repro.statistics import drop, gain, interval, saving


def units(rows=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal([0.3, 0.6], 0.2, (rows, 2))


def test_statistics_by_hand():
    table = np.array([[1.0, 2.0], [4.0, 8.0]])
    assert gain(table) == (2.5, 5.0, 2.5)
    assert drop(table) == (2.5, 5.0, -2.5)
    assert saving(table) == pytest.approx((2.0, 4.0, 0.5))
    with pytest.raises(ClaimError, match="costs above 0, found 0"):
        saving(np.array([[0.0, 1.0]]))


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_the_percentile_bootstrap_of_scipy(seed):
    table = units(seed=seed)
    ours = interval(table, gain)
    theirs = stats.bootstrap(
        (table[:, 1] - table[:, 0],), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx(theirs, abs=0.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(60):
        low, high = interval(units(seed=seed), gain)
        covered += low <= 0.3 <= high
    assert 50 <= covered <= 60


def test_a_comparison_holds_when_its_whole_interval_reaches_the_bar():
    one = Comparison("m", units(), bar=0.1)
    low, high = one.interval
    assert low < one.effect < high
    assert one.holds
    between = Comparison("m", units(), bar=(low + one.effect) / 2)
    assert between.effect > between.bar
    assert not between.holds
    assert one.summary()["holds"] is True
    assert one.summary()["effect"] == pytest.approx(one.summary()["method"] - one.summary()["baseline"])


def test_a_result_holds_only_with_its_controls():
    good, bad = Comparison("m", units(), 0.1), Comparison("m", units(), 0.9)
    assert Result(good).holds
    assert Result(good, (good,)).holds
    assert not Result(good, (bad,)).holds
    assert not Result(bad, (good,)).holds


def test_verdicts_cannot_be_set():
    with pytest.raises(TypeError):
        Comparison("m", units(), 0.1, holds=True)
    with pytest.raises(AttributeError):
        Comparison("m", units(), 0.9).holds = True


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], [1.0, 2.0], [[1.0, float("nan")], [1.0, 2.0]]])
def test_units_that_bear_no_interval_are_refused(wrong):
    with pytest.raises(ClaimError, match=r"m: units are finite numbers \[units, columns\], two units at least"):
        Comparison("m", wrong, 0.1)


def test_pooled_seeds_are_one_sample():
    results = [Result(Comparison("m", units(seed=s), 0.1), details={"seed": s}) for s in range(3)]
    pooled = pool(results)
    assert len(pooled.main.units) == 120
    assert pooled.main.effect == pytest.approx(np.mean([r.main.effect for r in results]))
    assert np.diff(pooled.main.interval) < np.diff(results[0].main.interval)
    assert pooled.details == {"seeds": [{"seed": 0}, {"seed": 1}, {"seed": 2}]}


@pytest.fixture
def toy(monkeypatch):
    """A claim without training, in the place of that of paper 132."""
    seen = []

    def function(quick, seed):
        seen.append((quick, seed))
        return Result(Comparison("m", units(seed=seed), 0.1), (Comparison("control", units(), 0.9),), {"a": [1, 2]})

    function.__module__ = "saccade.repro.host"
    monkeypatch.setattr("saccade.repro.runner.find", lambda number: Claim(number, "toy", function, ("saccade.core",)))
    return seen


def test_a_record_keeps_everything_and_comes_back_from_its_file(toy, tmp_path):
    record = run(132, quick=True, seeds=(3, 4))
    assert toy == [(True, 3), (True, 4)]
    assert not record.holds
    assert [one["holds"] for one in record.also] == [False]
    assert record.interval[0] >= record.bar
    assert (record.quick, record.seeds, record.units) == (True, [3, 4], 80)
    assert set(record.versions) == {"python", "torch", "transformers", "numpy"}
    path = record.save(tmp_path)
    assert path.name == "132-quick.json"
    assert records.read(path) == record
    assert records.latest(tmp_path)[132] == record
    assert {"id", "holds", "metric", "baseline", "method", "effect", "interval", "bar", "seconds"} <= set(
        json.loads(path.read_text())
    )


def test_a_change_of_code_makes_a_record_stale(toy, tmp_path, monkeypatch):
    record = run(132)
    assert not record.stale
    assert record.modules == ["saccade.repro.host", "saccade.core"]
    (tmp_path / "core").mkdir()
    (tmp_path / "repro").mkdir()
    (tmp_path / "core" / "a.py").write_text("x = 1\n")
    (tmp_path / "repro" / "host.py").write_text("y = 1\n")
    monkeypatch.setattr(records, "ROOT", tmp_path)
    assert record.stale
    fresh = dataclasses.replace(record, code=records.code_hash(record.modules))
    assert not fresh.stale
    (tmp_path / "core" / "a.py").write_text("x = 2\n")
    assert fresh.stale
    assert "stale" in fresh.verdict
    (tmp_path / "repro" / "host.py").unlink()
    assert records.code_hash(record.modules) == "missing"


def test_a_broken_file_says_so(tmp_path):
    (tmp_path / "060.json").write_text('{"id": 60}')
    with pytest.raises(ClaimError, match=r"060.json is no saved result"):
        records.latest(tmp_path)


def test_the_last_run_counts(toy, tmp_path):
    early, late = run(132), run(132, quick=True)
    dataclasses.replace(late, time="2000-01-01T00:00:00+00:00").save(tmp_path)
    early.save(tmp_path)
    assert records.latest(tmp_path)[132] == early


def test_files_of_claims_are_named_after_the_papers_they_claim():
    for number, module in claimed().items():
        claim = find(number)
        assert claim.id == number
        assert claim.function.__module__ == module
        family = module.split(".")[-2]
        from saccade.repro import papers

        assert papers[number].family.lower().replace(".", "_") == family
        assert records.code_hash(claim.modules) != "missing"


def test_a_paper_without_claim_says_which_have_one():
    with pytest.raises(ClaimError, match=r"paper 26 .* has no executable claim yet, its status is 'out of scope'"):
        find(26)
    with pytest.raises(ClaimError, match="one seed at least"):
        run(132, seeds=())
