"""[63, 129, 363] Activation patching and path patching over heads, with batches of two inputs in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.errors import MeasureError
from saccade.core.sites import HeadMap, heads_at

from .trace import Target, run

if TYPE_CHECKING:
    from saccade.hosts import Host
    from saccade.hosts.operator import Operator

Inputs = Mapping[str, Any]
Cache = dict[str, Tensor]
"""Head outputs ``[B, H, Q, Dv]`` by site name."""


@torch.no_grad()
def head_outputs(lm: Host, inputs: Inputs, sites: str | Sequence[str] | None = None) -> Cache:
    """Outputs of all heads in a run, before the output projection."""
    found: Cache = {}

    def keep(operator: Operator, values: Tensor) -> Tensor:
        found[operator.site.name] = values.detach()
        return values

    with lm.tap(keep, sites):
        run(lm, **inputs)
    return found


@contextmanager
def patched(lm: Host, cache: Cache, heads: HeadMap, positions: Sequence[int] | None = None) -> Any:
    """Give heads the outputs that they had in another run, in the body.

    Args:
        lm: an attached model.
        cache: of :func:`head_outputs`, for inputs of the same shape.
        heads: which heads, as ``at=`` of an edit: ``{layer: [heads]}``.
        positions: query rows that are patched; all by default.
    """

    def swap(operator: Operator, values: Tensor) -> Tensor:
        chosen = heads_at(heads, operator.site, values.shape[1])
        if chosen == []:
            return values
        if operator.site.name not in cache:
            raise MeasureError(f"the other run kept no outputs of {operator.site.name}.")
        other = cache[operator.site.name]
        if other.shape != values.shape:
            raise MeasureError(f"patching needs inputs of one shape, found {list(other.shape)}, {list(values.shape)}.")
        index = list(range(values.shape[1])) if chosen is None else chosen
        rows = list(range(values.shape[2])) if positions is None else [row % values.shape[2] for row in positions]
        values = values.clone()
        place = torch.tensor(index)[:, None], torch.tensor(rows)[None]
        values[:, place[0], place[1]] = other[:, place[0], place[1]].to(values)
        return values

    with lm.tap(swap):
        yield


@torch.no_grad()
def activation_patching(
    lm: Host, clean: Inputs, corrupt: Inputs, target: Target, positions: Sequence[int] | None = None
) -> Tensor:
    """What each head alone restores: the target of the corrupt run with that head's clean output, ``[L, H, B]``.

    Normalised: 0 is the corrupt run, 1 the clean one.

    Args:
        lm: an attached model.
        clean, corrupt: inputs of the same shape.
        target: from the model's output to a number for each sample.
        positions: query rows that are patched; all by default.

    Source: papers 129 and 363.
    """
    cache = head_outputs(lm, clean)
    low, high = (target(run(lm, **inputs)).float() for inputs in (corrupt, clean))
    return _each(lm, lambda heads: _with(lm, cache, heads, corrupt, target, positions), low, high)


@torch.no_grad()
def path_patching(
    lm: Host,
    clean: Inputs,
    corrupt: Inputs,
    target: Target,
    *,
    receivers: HeadMap | None = None,
    positions: Sequence[int] | None = None,
) -> Tensor:
    """What each head sends along direct paths only, ``[L, H, B]``; all other heads are as in the clean run.

    To the logits (``receivers=None``), with other heads frozen the sender's change reaches the output through the
    residual stream and the feed-forward layers only. To receivers: the sender's change is let into the heads of
    ``receivers`` only, whose new outputs are then put into a clean run. The result is the fall of the target, 0 where
    nothing changes and 1 for the whole fall from clean to corrupt.

    Args:
        lm: an attached model.
        clean, corrupt: inputs of the same shape.
        target: from the model's output to a number for each sample.
        receivers: heads that the change may pass through, ``{layer: [heads]}``.
        positions: query rows of the sender; all by default.

    Source: papers 63 and 129 (after Wang et al.).
    """
    kept, other = head_outputs(lm, clean), head_outputs(lm, corrupt)
    high, low = (target(run(lm, **inputs)).float() for inputs in (clean, corrupt))

    def run_one(heads: HeadMap) -> Tensor:
        mixed = {name: value.clone() for name, value in kept.items()}
        for site in lm.sites:
            chosen = heads_at(heads, site, site.heads)
            rows = slice(None) if positions is None else [row % mixed[site.name].shape[2] for row in positions]
            for head in chosen if chosen is not None else range(site.heads):
                mixed[site.name][:, head, rows] = other[site.name][:, head, rows]
        every: HeadMap = {site.name: None for site in lm.sites}
        if receivers is None:
            return _with(lm, mixed, every, clean, target, None)
        frozen: HeadMap = {
            site.name: [head for head in range(site.heads) if head not in _chosen(receivers, site)] for site in lm.sites
        }
        received: Cache = {}

        def keep(operator: Operator, values: Tensor) -> Tensor:
            received[operator.site.name] = values.detach()
            return values

        with lm.tap(keep), patched(lm, mixed, {name: some for name, some in frozen.items() if some}):
            run(lm, **clean)
        return _with(lm, received, receivers, clean, target, None)

    return _each(lm, run_one, high, low)


def overlap(a: Tensor, b: Tensor, top: int) -> float:
    """Share of the ``top`` most important heads that two tasks have in common; scores ``[L, H]``. Source: paper 63.

    Example:
        >>> overlap(torch.tensor([[3.0, 2.0, 1.0, 0.0]]), torch.tensor([[9.0, 0.0, 8.0, 1.0]]), top=2)
        0.5
    """
    best = [set(one.flatten().topk(top).indices.tolist()) for one in (a, b)]
    return len(best[0] & best[1]) / top


def _chosen(heads: HeadMap, site: Any) -> list[int]:
    picked = heads_at(heads, site, site.heads)
    return list(range(site.heads)) if picked is None else picked


def _with(
    lm: Host, cache: Cache, heads: HeadMap, inputs: Inputs, target: Target, positions: Sequence[int] | None
) -> Tensor:
    with patched(lm, cache, heads, positions):
        return target(run(lm, **inputs)).float()


def _each(lm: Host, one: Callable[[HeadMap], Tensor], start: Tensor, end: Tensor) -> Tensor:
    """``one`` for each head of the main stack, from 0 at ``start`` to 1 at ``end``."""
    sites = [site for site in lm.sites if site.main]
    span = (end - start).abs().clamp_min(1e-9) * (end - start).sign()
    span = torch.where(span == 0, torch.ones_like(span), span)
    found = [[(one({site.name: [head]}) - start) / span for head in range(site.heads)] for site in sites]
    return torch.stack([torch.stack(row) for row in found])
