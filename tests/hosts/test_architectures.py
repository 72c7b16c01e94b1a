"""Every architecture, every property; the table must be the committed one."""

from __future__ import annotations

import pytest
import transformers

from .architectures import CASES
from .table import DOCS, Row, committed, markdown, row

_table: dict[str, Row] = {}


@pytest.fixture(autouse=True)
def quiet():
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(before)


@pytest.mark.parametrize("name", CASES)
def test_row(name: str) -> None:
    _table[name] = row(name)
    assert _table[name] == committed()[name]


def test_table_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + markdown(_table))
    assert list(committed()) == list(CASES)
    assert not [cell for cells in committed().values() for cell in cells.values() if cell.startswith("fails")]


def test_docs_show_the_table() -> None:
    assert markdown(committed()) in DOCS.read_text()
