"""Arithmetic intensity of decoding: operations for each byte read from the cache (paper 302)."""

from __future__ import annotations

from dataclasses import dataclass

from saccade.core.errors import MechanismError


@dataclass(frozen=True)
class Reading:
    """How one layer reads its cache, for each token in it.

    heads   query heads
    key     width of a key, ``value`` width of a value, as the heads read them
    stored  numbers in the cache

    >>> Reading.grouped(heads=128, head_dim=128).intensity()
    1.0
    >>> Reading.grouped(heads=128, head_dim=128, kv_heads=16).intensity()
    8.0
    >>> round(Reading.compressed(heads=128, latent=512, rotary=64).intensity(), 1)
    241.8
    """

    heads: int
    key: int
    value: int
    stored: int

    def __post_init__(self) -> None:
        if min(self.heads, self.key, self.value, self.stored) < 1:
            raise MechanismError(f"heads, widths and numbers stored must be positive, found {self}")

    @staticmethod
    def grouped(heads: int, head_dim: int, kv_heads: int | None = None) -> Reading:
        """Multi-head attention, grouped-query with ``kv_heads``, multi-query with one."""
        kv_heads = heads if kv_heads is None else kv_heads
        return Reading(heads, head_dim, head_dim, 2 * kv_heads * head_dim)

    @staticmethod
    def compressed(heads: int, latent: int, rotary: int) -> Reading:
        """Latent attention, absorbed: keys are latents beside the rotated part, values the same latents."""
        return Reading(heads, latent + rotary, latent, latent + rotary)

    def operations(self, queries: int = 1) -> int:
        """Multiplications and additions of ``queries`` new tokens with one token of the cache: q·k and weight·v."""
        return 2 * queries * self.heads * (self.key + self.value)

    def bytes(self, width: int = 2) -> int:
        """Bytes read for one token of the cache, at ``width`` bytes a number."""
        return width * self.stored

    def intensity(self, queries: int = 1, width: int = 2) -> float:
        """Operations a byte; below what the machine does while it reads a byte, reading is what decoding waits for."""
        return self.operations(queries) / self.bytes(width)
