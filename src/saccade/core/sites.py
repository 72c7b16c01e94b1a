"""Where attention lives: sites, and which heads of a site an edit or measure is meant for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol, runtime_checkable

from .errors import SiteError


@dataclass(frozen=True)
class Site:
    """One attention operator of a model.

    ``name`` is a stable address such as ``text.12.self``; ``layer`` counts the sites of the same stack and kind from
    zero; ``kind`` is ``self`` or ``cross``; ``stack`` is ``text``, ``vision``, ``audio``, ``encoder`` or ``decoder``;
    ``path`` is the module path inside the model; ``main`` tells whether a bare layer number means this site.

    Example:
        >>> Site("text.0.self", layer=0, kind="self", heads=8, kv_heads=2).group
        4
    """

    name: str
    layer: int
    kind: str
    heads: int
    kv_heads: int
    stack: str = "text"
    path: str = ""
    main: bool = True

    @property
    def group(self) -> int:
        """Query heads that share one key-value head."""
        return self.heads // self.kv_heads


@runtime_checkable
class PicksHeads(Protocol):
    """Anything that knows which heads of a site it means, for instance a HeadSet."""

    def heads_at(self, site: Site) -> Sequence[int] | None:
        """Heads at ``site``; empty for none of them, None for all of them."""


HeadMap = Mapping[int | str, Sequence[int] | None]
At = None | str | Sequence[int] | HeadMap | PicksHeads
"""Sites and heads: None (all), heads of every site, a glob of site names, {layer or site glob: heads}, a HeadSet."""


def heads_at(at: At, site: Site | None, heads: int) -> list[int] | None:
    """Heads of ``site`` that ``at`` picks: None means all of them, an empty list none.

    Integer keys of a mapping are layers of the main stack; other sites are named by their address.

    Args:
        at: what a user wrote.
        site: the site, or None for a bare call on tensors (then only None and a list of heads make sense).
        heads: number of query heads at the site.

    Example:
        >>> heads_at({3: [1, 2]}, Site("text.3.self", 3, "self", 8, 8), 8)
        [1, 2]
        >>> heads_at({3: [1, 2]}, Site("text.4.self", 4, "self", 8, 8), 8)
        []
    """
    if at is None:
        return None
    if site is None:
        if not isinstance(at, PicksHeads | Mapping | str):
            return _checked(at, site, heads)
        raise SiteError(f"at={at!r} names layers or sites, but attention() on tensors has none; give heads, at=[0, 3].")
    if isinstance(at, str):
        return None if fnmatchcase(site.name, at) else []
    if isinstance(at, Mapping):
        picked = _from_mapping(at, site)
    else:
        picked = at.heads_at(site) if isinstance(at, PicksHeads) else at
    return None if picked is None else _checked(picked, site, heads)


def _from_mapping(at: HeadMap, site: Site) -> Sequence[int] | None:
    picked: list[int] = []
    for key, heads in at.items():
        if (site.main and key == site.layer) if isinstance(key, int) else fnmatchcase(site.name, key):
            if heads is None:
                return None
            picked.extend(heads)
    return picked


def _checked(picked: Sequence[int], site: Site | None, heads: int) -> list[int]:
    where = f"site {site.name}" if site else "this call"
    chosen = sorted({int(head) for head in picked})
    outside = [head for head in chosen if not 0 <= head < heads]
    if outside:
        raise SiteError(f"{where} has heads 0 to {heads - 1}, but heads {outside} were asked for.")
    return chosen
