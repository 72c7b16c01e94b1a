"""``saccade papers`` and ``saccade repro``."""

import json

import pytest

from saccade.repro import Comparison, Result, claimed
from saccade.repro.registry import Claim


@pytest.fixture
def toy(monkeypatch):
    """Claims whose effect is their seed plus one, without training."""

    def make(number):
        def function(quick, seed):
            return Result(Comparison("hits", [[0.0, 1.0 + seed]] * 4, bar=1.5))

        function.__module__ = "saccade.repro.host"
        return Claim(number, f"toy {number}", function, ())

    monkeypatch.setattr("saccade.repro.runner.find", make)
    monkeypatch.setattr("saccade.repro.find", make)


def test_repro_prints_a_list_and_saves(saccade, toy, tmp_path):
    done = saccade("repro", 60, 68, "--seeds", 3, "--folder", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    first, second = json.loads(done.stdout)
    assert (first["id"], second["id"]) == (60, 68)
    assert first["effect"] == 2.0
    assert first["seeds"] == [0, 1, 2]
    assert first["holds"] is (first["interval"][0] >= first["bar"])
    assert {path.name for path in tmp_path.iterdir()} == {"060.json", "068.json"}


def test_a_claim_that_does_not_hold_is_a_result(saccade, toy, tmp_path):
    done = saccade("repro", 60, "--folder", tmp_path)
    assert done.exit_code == 0
    assert "0 of 1 claims hold" in done.stdout
    shown = saccade("papers", 60, "--folder", tmp_path)
    assert "does not hold" in shown.stdout


def test_all_runs_every_claim(saccade, toy, tmp_path):
    done = saccade("repro", "--all", "--quick", "--folder", tmp_path, "--json")
    assert [one["id"] for one in json.loads(done.stdout)] == list(claimed())


@pytest.mark.parametrize("words", [(), (60, "--all")])
def test_papers_or_all_not_both(saccade, words):
    done = saccade("repro", *words)
    assert done.exit_code == 2
    assert "name papers, or give --all" in done.stderr


def test_a_paper_without_claim_is_an_error(saccade, tmp_path):
    done = saccade("repro", 26, "--folder", tmp_path)
    assert done.exit_code == 2
    assert "no executable claim yet" in done.stderr


def test_papers_lists_402_rows(saccade, tmp_path):
    rows = json.loads(saccade("papers", "--json", "--folder", tmp_path).stdout)
    assert [row["id"] for row in rows] == list(range(402))
    table = saccade("papers", "--folder", tmp_path).stdout
    assert "402 of 402 papers" in table


def test_papers_shows_results_and_staleness(saccade, toy, tmp_path):
    saccade("repro", 60, "--folder", tmp_path)
    assert "stale" not in saccade("papers", 60, "--folder", tmp_path).stdout
    path = tmp_path / "060.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "code": "0" * 16}))
    (row,) = json.loads(saccade("papers", 60, "--json", "--folder", tmp_path).stdout)
    assert row["result"]["stale"] is True
    assert "stale" in saccade("papers", 60, "--folder", tmp_path).stdout


def test_papers_filters(saccade, tmp_path):
    rows = json.loads(saccade("papers", "attention", "--status", "planned", "--family", "MECH", "--json").stdout)
    assert rows
    assert all(row["status"] == "planned" and row["family"].startswith("MECH.") for row in rows)
    assert saccade("papers", "--status", "done").exit_code == 2
