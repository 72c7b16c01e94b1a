"""Recall: pairs of a key and a value, then keys that ask for their values."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from saccade.repro.host import IGNORED, Batch

USES = ("saccade.repro.claims.mech_lin.lookup",)


@dataclass(frozen=True)
class Lookup:
    """``pairs`` of as many ``keys``, each with one of ``values``, then ``asked`` of the keys.

    A pair is one token, which one layer can find; where they stand ``apart`` it is two, the key first, and an earlier
    layer has to bring them together.
    """

    keys: int = 6
    values: int = 4
    pairs: int = 4
    asked: int = 4
    rows: int = 32
    apart: bool = False

    @property
    def vocabulary(self) -> int:
        """Tokens that there are."""
        return self.keys + (self.values if self.apart else self.keys * self.values)

    def __call__(self, generator: torch.Generator) -> Batch:
        """Tokens, and the value that each question asks for."""
        keys = torch.rand(self.rows, self.keys, generator=generator).argsort(-1)[:, : self.pairs]
        values = torch.randint(self.values, keys.shape, generator=generator)
        which = torch.rand(keys.shape, generator=generator).argsort(-1)[:, : self.asked]
        pairs = self.keys + (values if self.apart else keys * self.values + values)
        told = torch.stack([keys, pairs], dim=-1).flatten(1) if self.apart else pairs
        tokens = torch.cat([told, keys.gather(1, which)], dim=1)
        return tokens, torch.cat([torch.full_like(told, IGNORED), values.gather(1, which)], dim=1)
