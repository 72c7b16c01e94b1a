"""The conformance suite's check of swapped models fails where it should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saccade.mechanisms import Scored, State, View
from saccade.mechanisms.linear.lightning import Lightning
from saccade.testing import checks, conform


class Forgetful(Lightning):
    """Begins anew with every call."""

    def fast(self, q: Tensor, k: Tensor, v: Tensor, view: View, state: State | None) -> Tensor:
        return super().fast(q, k, v, view, None if state is None else State())


class Broken(Scored):
    """Loses its gradient and everything else."""

    info = Lightning.info

    def weights(self, scores: Tensor, view: View) -> Tensor:
        return torch.full_like(scores, torch.nan)


@pytest.mark.parametrize("cls", [Forgetful, Broken])
def test_a_defect_is_caught(cls: type[Lightning]) -> None:
    assert "swap" in checks(cls)
    with pytest.raises(AssertionError):
        conform(cls, only=["swap"])


def test_a_sound_class_passes() -> None:
    conform(Lightning, only=["swap"])
    conform("softmax", only=["swap"], positions="alibi")
