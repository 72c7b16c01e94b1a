"""The catalogue is whole, and says nothing that the repository does not bear out."""

import importlib
import subprocess
import sys

import pytest

import saccade as sc
from saccade.repro import FAMILIES, STATUSES, PaperError, claimed
from saccade.repro.record import PUBLISHED, latest

IDS = range(402)


def test_every_paper_is_there_once():
    assert [paper.id for paper in sc.papers] == list(IDS)
    assert len(sc.papers) == 402
    assert len({paper.title for paper in sc.papers}) == 402


def test_every_claim_is_one_sentence_of_its_own():
    claims = [paper.claim for paper in sc.papers]
    assert len(set(claims)) == 402
    for claim in claims:
        assert 40 <= len(claim) <= 260, claim
        assert claim[0].isupper() or not claim[0].isalpha(), claim
        assert claim.endswith("."), claim


def test_families_and_statuses_are_known():
    assert {paper.family for paper in sc.papers} == set(FAMILIES)
    assert {paper.status for paper in sc.papers} <= set(STATUSES)
    assert sum(paper.family == "NONE" for paper in sc.papers) == 51


def test_out_of_scope_has_a_reason_and_nothing_else_has():
    for paper in sc.papers:
        assert bool(paper.reason) == (paper.status == "out of scope"), paper
        assert not (paper.where and paper.status == "out of scope"), paper
        assert paper.status == "out of scope" or paper.family != "NONE", paper


def test_partial_says_what_is_missing_and_works_needs_no_excuse():
    for paper in sc.papers:
        assert bool(paper.note) == (paper.status == "partial"), paper


@pytest.mark.parametrize("paper", [p for p in sc.papers if p.status in ("works", "partial")], ids=lambda p: str(p.id))
def test_what_is_here_can_be_imported(paper):
    assert importlib.import_module(paper.where)


def test_nothing_planned_has_a_place():
    assert not [paper.id for paper in sc.papers if paper.status == "planned" and paper.where]


def test_mechanisms_are_in_the_catalogue():
    from saccade import mechanisms

    for name in mechanisms.names():
        for number in mechanisms.info(name).papers:
            assert sc.papers[number].status in ("works", "partial"), (name, number)


def test_a_paper_works_if_and_only_if_its_published_claim_holds_and_its_definition_is_no_guess():
    from saccade import mechanisms

    guessed = {
        n
        for name in mechanisms.names()
        if mechanisms.info(name).source == "guess"
        for n in mechanisms.info(name).papers
    }
    published = latest(PUBLISHED)
    full = {number for number, record in published.items() if record.holds and not record.quick}
    assert {paper.id for paper in sc.papers if paper.status == "works"} == full - guessed
    assert full <= set(claimed())


def test_every_claim_has_published_numbers():
    assert set(latest(PUBLISHED)) == set(claimed())
    for record in latest(PUBLISHED).values():
        assert not record.quick
        assert record.units >= 2


def test_search_by_number_words_status_and_family():
    assert [p.id for p in sc.papers.search("60")] == [60]
    assert sc.papers.search("SPLIT-softmax instruction") == (sc.papers[180],)
    assert {p.family for p in sc.papers.search(family="mech")} == {f for f in FAMILIES if f.startswith("MECH.")}
    assert len(sc.papers.search(status="out of scope")) == sc.papers.counts()["out of scope"]
    assert sc.papers.search("no such words anywhere") == ()


@pytest.mark.parametrize("wrong", [402, -1, "60", True, None])
def test_a_number_that_is_none_says_which_there_are(wrong):
    with pytest.raises(PaperError, match="an int from 0 to 401; found"):
        sc.papers[wrong]


def test_an_unknown_status_or_family_says_which_there_are():
    with pytest.raises(PaperError, match=r"'planned'.*found 'done'"):
        sc.papers.search(status="done")
    with pytest.raises(PaperError, match=r"no family is called 'MECH\.linear'; perhaps .*MECH\.lin"):
        sc.papers.search(family="MECH.linear")


def test_papers_are_frozen():
    with pytest.raises(AttributeError):
        sc.papers[60].status = "works"


def test_importing_saccade_reads_no_catalogue_and_no_claim():
    code = (
        "import sys, saccade; assert not any('repro' in m for m in sys.modules); saccade.papers; "
        "assert 'saccade.repro' in sys.modules; assert not any('.claims.' in m for m in sys.modules); "
        "assert 'torch' not in sys.modules; saccade.papers[3]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
