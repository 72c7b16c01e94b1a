"""The mechanism of the contributor's page conforms as it stands there."""

import re
from pathlib import Path

import pytest

from saccade.testing import checks, conform

PAGE = Path(__file__).parents[2] / "docs" / "mechanisms-contributing.md"


def example() -> type:
    names: dict[str, type] = {"__name__": "example"}
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(code.group(1), names)
    return names["Signed"]


@pytest.mark.parametrize("check", checks(example()))
def test_the_example(check: str) -> None:
    conform(example(), only=[check])
