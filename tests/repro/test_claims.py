"""The quick form of each claim runs, and holds where the paper is said to work."""

import pytest

from saccade.repro import claimed, papers, run


@pytest.mark.parametrize("number", claimed())
def test_the_quick_form(number):
    record = run(number, quick=True)
    assert record.quick
    assert record.holds or papers[number].status != "works", record
