"""[292] What softmax can and cannot separate: bounds on weights, margins and gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def margin(weights: Tensor, count: int) -> Tensor:
    r"""Separation of the ``count`` largest weights of a row from the rest: difference of their means, ``[...]``.

    .. math:: m_N = \frac1N \sum_{i \in \mathrm{top}_N} \alpha_i - \frac1{L-N} \sum_{i \notin \mathrm{top}_N} \alpha_i

    Args:
        weights: rows of A ``[..., L]``, every key visible.
        count: how many are selected, N < L.

    Example:
        >>> margin(torch.tensor([0.7, 0.1, 0.1, 0.1]), 1)
        tensor(0.6000)
    """
    top = weights.topk(count, dim=-1).values.sum(-1)
    return top / count - (weights.sum(-1) - top) / (weights.shape[-1] - count)


def margin_bound(spread: Tensor, length: int, count: int) -> Tensor:
    r"""The largest margin that logits within a range can give: :math:`(e^\Delta - 1) / (N e^\Delta + L - N)`.

    It is reached where the selected logits are all at the top of the range and the others at its bottom. It falls with
    N and is below 1 / N however large the range, so many tokens cannot all stand out: the limit that paper 292 states
    for distances, here for the weights themselves, with the logits' range in the place of their norm.

    Args:
        spread: largest minus smallest logit of the row, :math:`\Delta`.
        length: number of keys L.
        count: how many are selected.

    Example:
        >>> [round(float(margin_bound(torch.tensor(spread), 4, 2)), 4) for spread in (1.0, 99.0)]
        [0.2311, 0.5]
    """
    small = torch.exp(-spread)
    return (1 - small) / (count + (length - count) * small)


def sensitivity(weights: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Spectral norm of the Jacobian of :math:`\mathrm{softmax}(l / T)`: largest eigenvalue of
    :math:`(\mathrm{diag}(\alpha) - \alpha\alpha^\top) / T`, at most :math:`1 / (2T)`.

    Args:
        weights: softmax at that temperature ``[..., L]``.
        temperature: T.

    Source: paper 292, on gradient sensitivity.

    Example:
        >>> round(float(sensitivity(torch.tensor([0.5, 0.5, 0.0]), 0.1)), 4)
        5.0
    """
    jacobian = torch.diag_embed(weights) - weights[..., :, None] * weights[..., None, :]
    norm: Tensor = torch.linalg.eigvalsh(jacobian)[..., -1] / temperature
    return norm
