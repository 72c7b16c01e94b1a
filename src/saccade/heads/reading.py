"""How kinds of heads read attention: whole rows a tile at a time, masses on spans, and means over what they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.measures import Mass, Rows
from saccade.core.spans import Spans

from .fingerprint import fingerprint
from .headset import HeadError, HeadSet

if TYPE_CHECKING:
    from saccade.hosts import Host

ENTRIES = 2**25
"""Weights that a tile of rows may hold over all sites and samples."""
Values = Mapping[int, Tensor]
"""By layer of the main stack, one value a head for each unit (a row, or a sample): ``[units, H]``."""


def layers(lm: Host) -> dict[str, int]:
    """Site names of the main stack's self-attention, with their layers."""
    found = {site.name: site.layer for site in lm.sites if site.main and site.kind == "self"}
    if not found:
        raise HeadError(f"{lm!r} has no self-attention in its main stack.")
    return found


def ranking(lm: Host, kind: str, values: Iterable[Values], among: HeadSet | None = None) -> HeadSet:
    """Heads by the mean of their values over all units of all batches.

    Raises:
        HeadError: there is not one unit.
    """
    sums: dict[int, Tensor] = {}
    units = 0
    for batch in values:
        units += next(iter(batch.values())).shape[0]
        for layer, value in batch.items():
            sums[layer] = sums.get(layer, torch.zeros(1)) + value.detach().cpu().double().sum(0)
    if not units:
        raise HeadError(f"{kind}: nothing in the data has what this kind of head is known by; look at the prompts.")
    found = HeadSet.from_scores({layer: total / units for layer, total in sums.items()}, kind, fingerprint(lm))
    return found if among is None else found & among.check(lm)


@torch.no_grad()
def tiles(lm: Host, prompt: Any, wanted: Tensor) -> Iterator[tuple[Tensor, dict[int, Tensor]]]:
    """The rows that any sample wants, some at a time, so that no n × n matrix is kept.

    Args:
        lm: an attached model.
        prompt: what it reads.
        wanted: boolean ``[B, N]``.

    Yields:
        Their indices ``[R]`` and, by layer, the rows ``[B, H, R, N]``.
    """
    names = layers(lm)
    samples, length = wanted.shape
    heads = sum(lm.site(name).heads for name in names)
    size = max(1, ENTRIES // (samples * length * max(heads, 1)))
    for rows in wanted.any(0).nonzero().flatten().split(size):
        with lm.watch(Rows(rows.tolist()), sites=list(names)) as seen:
            lm(prompt)  # type: ignore[operator]
        read = {layer: seen["rows"].site(name) for name, layer in names.items()}
        yield rows, read  # type: ignore[misc]


@torch.no_grad()
def masses(lm: Host, prompt: Any, members: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """By layer, the attention mass on spans given by boolean members ``[B, N]``: ``[B, H, N, spans]``."""
    names = layers(lm)
    with lm.watch(Mass(tuple(members)), spans=Spans(members), sites=list(names)) as seen:
        lm(prompt)  # type: ignore[operator]
    return {layer: seen["mass"].site(name) for name, layer in names.items()}  # type: ignore[misc]


def at_last(prompt: Any, read: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """The row of each sample's last token, on whichever side the padding is: ``[B, H, N, ...] -> [B, H, ...]``."""
    last = last_rows(prompt)
    return {layer: value[torch.arange(len(last)), :, last.to(value.device)] for layer, value in read.items()}


def last_rows(prompt: Any) -> Tensor:
    """Index of each sample's last token: ``[B]``."""
    real: Tensor = prompt.attention_mask.bool()
    return real.shape[1] - 1 - real.flip(1).int().argmax(1)
