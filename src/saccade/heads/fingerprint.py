"""Which model a set of heads belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True)
class Fingerprint:
    """What a model is recognised by, the same in every process and on every device.

    Attributes:
        name: class of the model.
        sites: number of attention sites.
        heads: number of query heads, over all sites.
        weights: digest of the shape and the first entries (in bfloat16) of every parameter, so that the same
            checkpoint loaded in float32 or bfloat16 has the same one.
    """

    name: str
    sites: int
    heads: int
    weights: str

    def __str__(self) -> str:
        return f"{self.name} ({self.sites} sites, {self.heads} heads, weights {self.weights})"


def fingerprint(lm: Host) -> Fingerprint:
    """The fingerprint of an attached model."""
    digest = hashlib.sha256()
    for name, parameter in lm.model.named_parameters():
        first = parameter.detach().reshape(-1)[:8].to("cpu", torch.bfloat16)
        digest.update(f"{name}{list(parameter.shape)}".encode() + first.view(torch.int16).numpy().tobytes())
    heads = sum(site.heads for site in lm.sites)
    return Fingerprint(type(lm.model).__name__, len(lm.sites), heads, digest.hexdigest()[:16])
