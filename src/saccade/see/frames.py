"""[358] Sinks as frames of reference: the geometry of the graph that attention spans over tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.core.errors import MeasureError


def centralisation(weights: Tensor) -> Tensor:
    r"""How far one token draws all attention: 1 for a star, 0 where every token is read alike.

    .. math:: C = \frac{n \max_j r_j - 1}{n - 1}, \qquad r_j = \frac1n \sum_i A_{ij}

    Freeman's centralisation of the weighted in-degrees :math:`r`, which add up to 1. Near 1 the frame is
    centralised, near the value of uniform attention with the same mask it is distributed.

    Args:
        weights: attention without padding, rows that add up to 1, ``[..., N, N]``.

    Source: paper 358, kinds of reference frames; the measure of it is chosen here.

    Example:
        >>> star, even = torch.zeros(4, 4), torch.full((4, 4), 0.25)
        >>> star[:, 0] = 1
        >>> centralisation(torch.stack([star, even])).tolist()
        [1.0, 0.0]
    """
    length = _length(weights, 2)
    found: Tensor = (length * weights.mean(-2).amax(-1) - 1) / (length - 1)
    return found


def connectivity(weights: Tensor) -> Tensor:
    r"""Algebraic connectivity of the graph of attention: how well all its tokens hang together.

    The second smallest eigenvalue (Fiedler's) of the Laplacian :math:`L = D - W`, with :math:`W = (A + A^\top) / 2`
    without its diagonal and D its row sums. Uniform attention has 1, a star 1/2, a graph in two pieces 0.

    Args:
        weights: attention without padding ``[..., N, N]``; dense, for short texts.

    Returns:
        ``[...]``, float64.

    Source: paper 358, spectral analysis.

    Example:
        >>> star = torch.zeros(5, 5)
        >>> star[:, 0] = 1
        >>> round(float(connectivity(star)), 4), round(float(connectivity(torch.full((5, 5), 0.2))), 4)
        (0.5, 1.0)
    """
    _length(weights, 2)
    graph = (weights + weights.mT).double() / 2
    graph = graph - torch.diag_embed(graph.diagonal(dim1=-2, dim2=-1))
    values: Tensor = torch.linalg.eigvalsh(torch.diag_embed(graph.sum(-1)) - graph)
    return values[..., 1]


def support(weights: Tensor, token: int) -> Tensor:
    r"""Share of the algebraic connectivity that is lost when a token is taken out: :math:`1 - \lambda_2' / \lambda_2`.

    A token that anchors the others has much of it; of n tokens that read each other alike, each has 1 / n.

    Args:
        weights: attention without padding ``[..., N, N]``; its graph has to hang together.
        token: which one is taken out, with its row and its column.

    Returns:
        ``[...]``, float64; below 0 where the rest hangs together better without the token.

    Example:
        >>> star = torch.zeros(5, 5)
        >>> star[:, 0] = 1
        >>> round(float(support(star, 0)), 4), round(float(support(torch.full((5, 5), 0.2), 0)), 4)
        (1.0, 0.2)
    """
    length = _length(weights, 3)
    if not 0 <= token < length:
        raise MeasureError(f"there is no token {token}; the {length} tokens are 0 to {length - 1}.")
    rest = torch.arange(length, device=weights.device) != token
    whole = connectivity(weights)
    if bool((whole <= 1e-9).any()):
        raise MeasureError("the graph of attention is in pieces already, so that no token holds it together.")
    return 1 - connectivity(weights[..., rest, :][..., rest]) / whole


def _length(weights: Tensor, least: int) -> int:
    if weights.dim() < 2 or weights.shape[-1] != weights.shape[-2] or weights.shape[-1] < least:
        raise MeasureError(f"attention is [..., N, N] with N of at least {least}; found {list(weights.shape)}.")
    return weights.shape[-1]
