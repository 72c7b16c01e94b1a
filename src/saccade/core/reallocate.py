"""From masses to the biases that move them: the second pass of :class:`~saccade.core.edits.Reallocate`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .errors import EditError
from .program import Reallocating, refuse_rows


def shares(edit: Reallocating, log_mass: Tensor, log_sink: Tensor | None) -> Tensor:
    """Bias per atom that gives every span its wanted mass, exactly.

    A bias ``log f(m) - log m`` that is constant on a span moves its mass from m to f(m), as long as the rest gets
    ``log(1 - sum f) - log(1 - sum m)``. The log-sum-exp of the row stays what it was. Beside a sink, whose logit is
    fixed, the rest and the sink keep their logits instead: the bias of the rest is subtracted from all. There the
    log-sum-exp is as exact as ``1 - sum f``, of which floats keep few digits when nearly all is wanted.

    Args:
        edit: the reallocation, with its spans as atoms ``[S, T]``.
        log_mass: log of the mass on each atom, ``[B, Hq, q, T]``; ``-inf`` where a row sees none of it.
        log_sink: log of the mass on the sink ``[B, Hq, q]``, or None.

    Returns:
        ``[B, Hq, q, T]``; ``-inf`` hides an atom.

    Raises:
        EditError: ``fn`` returns something that is not a set of masses, or a row is left with nothing.
    """
    outside = ~edit.spans.any(dim=0)
    per_span = torch.stack([_logsumexp(log_mass, span) for span in edit.spans], dim=-1)
    rest = _logsumexp(log_mass, outside)
    if log_sink is not None:
        rest = torch.logaddexp(rest, log_sink)
    wanted = _wanted(edit, per_span.exp()).masked_fill(torch.isneginf(per_span), 0.0)
    left = 1.0 - wanted.sum(dim=-1)
    left = torch.where(left <= 8 * torch.finfo(left.dtype).eps, 0.0, left)
    reachable = wanted.sum(dim=-1) + torch.where(torch.isneginf(rest), 0.0, left)
    chosen = torch.ones_like(reachable, dtype=torch.bool) if edit.rows is None else edit.rows[..., 0]
    if log_sink is not None:
        refuse_rows(chosen & (left <= 1e-6), "Reallocate wants all of its attention, but some of it is held by a sink")
    sees = ~(torch.isneginf(per_span).all(-1) & torch.isneginf(rest))
    refuse_rows(chosen & sees & (reachable <= 0), "Reallocate leaves it nothing to attend to")
    rest_bias = _ratio(left, rest)
    span_bias = _ratio(wanted, per_span)
    base = _log(reachable.masked_fill(reachable <= 0, 1.0)) if log_sink is None else rest_bias
    bias = (rest_bias - base).unsqueeze(-1).expand_as(log_mass)
    for index, span in enumerate(edit.spans):
        bias = torch.where(span, (span_bias[..., index] - base).unsqueeze(-1), bias)
    return bias if edit.rows is None else torch.where(edit.rows, bias, 0.0)


def _logsumexp(log_mass: Tensor, atoms: Tensor) -> Tensor:
    """Log-sum-exp over some atoms; its gradient is 0, not NaN, where there is none."""
    top = log_mass.detach().masked_fill(~atoms, -math.inf).amax(dim=-1, keepdim=True)
    top = torch.where(torch.isneginf(top), 0.0, top)
    return _log((log_mass - top).exp().masked_fill(~atoms, 0.0).sum(dim=-1)) + top[..., 0]


def _log(mass: Tensor) -> Tensor:
    """Logarithm with gradient 0 at 0."""
    none = mass <= 0
    return mass.masked_fill(none, 1.0).log().masked_fill(none, -math.inf)


def _ratio(wanted: Tensor, log_mass: Tensor) -> Tensor:
    """``log(wanted) - log_mass``; 0 where there is no mass to move."""
    none = torch.isneginf(log_mass)
    return (_log(wanted) - log_mass.masked_fill(none, 0.0)).masked_fill(none, 0.0)


def _wanted(edit: Reallocating, mass: Tensor) -> Tensor:
    wanted = edit.fn.fn(mass)
    if not isinstance(wanted, Tensor) or wanted.shape != mass.shape:
        found = list(wanted.shape) if isinstance(wanted, Tensor) else type(wanted).__name__
        raise EditError(f"Reallocate's fn must return masses of shape {list(mass.shape)}, found {found}.")
    low, high = float(wanted.detach().min()), float(wanted.detach().sum(-1).max())
    if not (low >= 0.0 and high <= 1.0 + 1e-4):
        raise EditError(
            f"Reallocate's fn must return masses >= 0 with a sum of at most 1; found a least mass of {low:g} and a "
            f"largest sum of {high:g}. Clamp or normalise what it returns."
        )
    return wanted
