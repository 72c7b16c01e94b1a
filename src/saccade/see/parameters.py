"""[102, 130, 235] What a head does, told from its parameters: relations, singular vectors, low rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

from .lens import readout
from .writers import Projections

if TYPE_CHECKING:
    from saccade.hosts import Host


def token_map(projections: Projections, head: int, embedding: Tensor, unembedding: Tensor) -> Tensor:
    """A head as a map from tokens to tokens, ``E W_V W_O U``: ``[sources, V]``.

    Args:
        projections: of the site.
        head: the query head.
        embedding: embeddings of the source tokens ``[sources, dim]``, normalised as the site's input is.
        unembedding: ``[V, dim]``, times the gain of the final norm.

    Source: paper 102 (MAPS), equation 1.
    """
    return embedding @ projections.ov(head) @ unembedding.T


def relation_score(mapping: Tensor, wanted: Sequence[int] | Tensor, top: int = 1) -> float:
    """Share of source tokens whose wanted target is among the ``top`` that a head's map promotes most.

    Args:
        mapping: rows of :func:`token_map` for the sources.
        wanted: the target of each source.
        top: how many count.

    Source: paper 102, its relation score.

    Example:
        >>> relation_score(torch.eye(4), [0, 1, 2, 0])
        0.75
    """
    targets = torch.as_tensor(wanted)
    if len(targets) != len(mapping):
        raise MeasureError(f"{len(mapping)} sources need as many targets, found {len(targets)}.")
    best = mapping.topk(top, dim=-1).indices
    return float((best == targets[:, None].to(best.device)).any(-1).float().mean())


@torch.no_grad()
def vocabulary(lm: Host) -> tuple[Tensor, Tensor]:
    """Embeddings at unit RMS, and the unembedding times the final norm's gain, both ``[V, dim]``."""
    table = lm.model.get_input_embeddings().weight.detach().float()  # type: ignore[operator]
    found = readout(lm, input_ids=torch.zeros(1, 1, dtype=torch.long, device=table.device))
    rms = table.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-12)
    return table / rms, found.unembedding * found.gain


@dataclass(frozen=True, eq=False)
class Directions:
    """Singular vectors of a head's bilinear form ``W_Q W_K^T``, or of its map ``W_V W_O``.

    Attributes:
        left: ``[dim, r]``: directions on the side of the queries (or of what is read).
        values: ``[r]``, falling.
        right: ``[dim, r]``: directions on the side of the keys (or of what is written).
    """

    left: Tensor
    values: Tensor
    right: Tensor

    def keep(self, rank: int) -> Directions:
        """The first ``rank`` of them."""
        return Directions(self.left[:, :rank], self.values[:rank], self.right[:, :rank])

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the squared singular values."""
        share = self.values.square() / self.values.square().sum()
        return float(torch.special.entr(share).sum().exp())


def qk_directions(projections: Projections, head: int) -> Directions:
    """Singular vectors of ``W_Q W_K^T`` without forming it: QR of both factors, then an SVD of ``[D, D]``.

    Positions (a rotation between queries and keys) are left out, as in paper 130.
    """
    shared = head // (len(projections.q) // len(projections.k))
    return _product(projections.q[head], projections.k[shared].T)


def ov_directions(projections: Projections, head: int) -> Directions:
    """Singular vectors of ``W_V W_O``; source: paper 130."""
    shared = head // (len(projections.q) // len(projections.v))
    return _product(projections.v[shared], projections.writer.weight[head])


def coding(signal: Tensor, directions: Directions, side: str = "right") -> Tensor:
    """Share of a signal's size that lies along each direction, ``[..., dim]`` -> ``[..., r]``.

    Args:
        signal: what another head wrote into the residual stream.
        directions: of the head that reads it.
        side: ``"right"`` where it is read as a key, ``"left"`` as a query.

    Source: paper 130: such signals are sparse in the singular vectors.
    """
    if side not in ("left", "right"):
        raise MeasureError(f'coding: side is "left" or "right", found {side!r}.')
    basis = directions.right if side == "right" else directions.left
    return (signal @ basis).square() / signal.square().sum(-1, keepdim=True).clamp_min(1e-30)


def _product(a: Tensor, b: Tensor) -> Directions:
    """SVD of ``a @ b`` for ``a [dim, D]``, ``b [D, dim]``."""
    left, inner_left = torch.linalg.qr(a)
    right, inner_right = torch.linalg.qr(b.T)
    u, values, v = torch.linalg.svd(inner_left @ inner_right.T)
    return Directions(left @ u, values, right @ v.T)
