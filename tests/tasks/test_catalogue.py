"""The page in the docs shows what the tasks really make."""

from pathlib import Path

from saccade.tasks.catalogue import catalogue
from saccade.tasks.world.facts import ruler_facts, stable_facts, stable_towns

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def test_page_is_up_to_date():
    assert PAGE.endswith(catalogue()), "write docs/tasks.md again: its head, then `python -m saccade.tasks.catalogue`"


def test_counts_in_the_text():
    assert (len(stable_facts()), len(ruler_facts()), len(stable_towns())) == (160, 120, 16)
    assert "160 facts" in PAGE
    assert "120 facts" in PAGE
    assert "16 lists" in PAGE
