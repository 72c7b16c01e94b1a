"""Every mechanism of the library passes the whole suite."""

import pytest

from saccade.mechanisms import names
from saccade.testing import checks, conform


@pytest.mark.parametrize(("name", "check"), [(n, c) for n in names() for c in checks(n)])
def test_mechanism(name: str, check: str) -> None:
    conform(name, only=[check])


COMPOSED = [("selective", p) for p in ("rotary", "alibi", "t5")] + [("lightning", "rotary")]


@pytest.mark.parametrize(("name", "positions"), COMPOSED)
@pytest.mark.parametrize("check", ["reference", "causality", "decoding", "padding", "groups", "saving"])
def test_with_positions(name: str, positions: str, check: str) -> None:
    conform(name, only=[check], positions=positions)
