import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "spans.md"


def test_every_example_of_the_page_runs():
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert result.attempted > 30
    assert result.failed == 0
