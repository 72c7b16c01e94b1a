import json

import pytest

from saccade import demo
from saccade.cli.models import load


@pytest.fixture(scope="module")
def lm():
    return load("minilm").host


@pytest.fixture(scope="module")
def report(lm):
    return demo.run(lm, timings=False)


def test_each_clause_comes_nearer_to_its_own_query(report):
    assert len(report.main.rises) == 4
    for i, row in enumerate(report.main.after):
        changes = [after - before for after, before in zip(row, report.main.before, strict=True)]
        assert changes[i] > 0.02
        assert max(changes) == changes[i]
    assert report.holds


def test_attention_moved_onto_each_clause(report):
    assert all(after > before for before, after in report.main.masses)


def test_sentence_transformers_says_the_same(report):
    assert report.pooled == pytest.approx(report.main.rises, abs=1e-5)


def test_less_attention_does_the_opposite(lm):
    table = demo.similarities(lm, demo.REVIEWS[0], at=lm.sites[-1].name, strength=1 / demo.STRENGTH)
    assert all(rise < 0 for rise in table.rises)


def test_the_verdict_can_fail(report):
    from dataclasses import replace

    from saccade.cli.demo import verdict

    worse = replace(report, main=replace(report.main, after=(report.main.before, *report.main.after[1:])))
    assert verdict(report).plain.startswith("HOLDS")
    assert not worse.holds
    assert verdict(worse).plain.startswith("FAILS")


def test_the_command_prints_what_was_measured(saccade, report):
    done = saccade("demo", "--no-timings", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["rises"]["main"][0] == pytest.approx(list(report.main.rises), abs=1e-5)
    assert found["holds"] is True
    shown = saccade("demo").stdout
    assert "HOLDS" in shown
    assert all(name in shown for name in report.main.review.clauses)
    assert "ms" in shown
