"""[272] Artificial entanglement: a matrix read as a matrix product state, and the entropy across each of its bonds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

LIMIT = 4096
"""Rows or columns of the largest matrix that is decomposed."""


def factors(size: int) -> list[int]:
    """The prime factors of a dimension, falling.

    Example:
        >>> factors(96)
        [3, 2, 2, 2, 2, 2]
    """
    found, divisor = [], 2
    while size > 1:
        while size % divisor:
            divisor += 1
        found.append(divisor)
        size //= divisor
    return found[::-1]


def entropy(matrix: Tensor) -> Tensor:
    r"""Entanglement entropy between rows and columns, ``[..., R, C]`` -> ``[...]``, in nats.

    :math:`S = -\sum_i p_i \log p_i` with :math:`p_i = \sigma_i^2 / \sum_j \sigma_j^2`; 0 for a product of two
    vectors, at most :math:`\log \min(R, C)`, which the identity reaches. A matrix of zeros has none.

    Example:
        >>> entropy(torch.eye(8)).exp().round().item()
        8.0
    """
    wide = matrix.double()
    wide = wide if wide.shape[-2] <= wide.shape[-1] else wide.mT
    weight = torch.linalg.eigvalsh(wide @ wide.mT).clamp_min(0)
    share = weight / weight.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    found: Tensor = torch.special.entr(share).sum(-1)
    return found


def entanglement_profile(matrix: Tensor) -> tuple[Tensor, Tensor]:
    r"""Entropy across every bond of the matrix product state of a matrix.

    The indices of rows and of columns are split into their prime factors, the coarsest first, and laid on a chain: all
    factors of the row, then all of the column. Across the bond after the first m sites

    .. math:: S_m = -\sum_i p_i \log p_i,\quad p_i = \sigma_i^2 / \textstyle\sum_j \sigma_j^2

    with :math:`\sigma` the singular values of the matrix reshaped to the first m sites against the rest. The middle
    bond parts rows from columns. A volume law grows as fast as the logarithm of the smaller part's dimension, as a
    random matrix does; an area law stays behind.

    Args:
        matrix: ``[..., R, C]``.

    Returns:
        Entropies ``[..., bonds]`` in nats, and for each bond the logarithm of its smaller part's dimension ``[bonds]``.

    Source: Chen et al., "Artificial Entanglement in the Fine-Tuning of Large Language Models" (paper 272). Differs:
    every bond is decomposed by itself, exactly, which gives the entropies of the chain that successive singular value
    decompositions would make.

    Example:
        >>> entropies, room = entanglement_profile(torch.eye(4))
        >>> (entropies / math.log(2)).round(decimals=3).tolist(), (room / math.log(2)).tolist()
        ([1.0, 2.0, 1.0], [1.0, 2.0, 1.0])
    """
    rows, columns = matrix.shape[-2:]
    if not 1 < max(rows, columns) <= LIMIT:
        raise MeasureError(
            f"a matrix of 2 to {LIMIT} rows or columns can be read as a chain, found {rows} x {columns}."
        )
    sites = [*factors(rows), *factors(columns)]
    flat = matrix.flatten(-2)
    found, room = [], []
    for bond in range(1, len(sites)):
        left = math.prod(sites[:bond])
        right = math.prod(sites[bond:])
        found.append(entropy(flat.unflatten(-1, (left, right))))
        room.append(math.log(min(left, right)))
    return torch.stack(found, -1), torch.tensor(room, dtype=torch.float64)
