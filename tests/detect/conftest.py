"""A tiny random llama with grouped heads, and what dense attention in float64 says of a text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import saccade as sc
from hosts.oracle import oracle
from steer.conftest import tiny


@pytest.fixture
def lm() -> Iterator[sc.hosts.Host]:
    with torch.no_grad(), sc.attach(*tiny()) as host:
        yield host


def weights(lm: sc.hosts.Host, ids: list[int]) -> Tensor:
    """Attention of one sequence without padding, all heads in order: [heads, N, N], float64."""
    found: list[Tensor] = []
    with oracle(lm.model, weights=lambda path, rows: found.append(rows) or rows):
        lm.model(input_ids=torch.tensor([ids]))
    return torch.cat(found, 1)[0]
