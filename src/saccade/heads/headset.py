"""Ranked sets of attention heads."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from torch import Tensor

from saccade.core.errors import SaccadeError, SiteError
from saccade.core.sites import At, Site, heads_at

from .fingerprint import Fingerprint, fingerprint

if TYPE_CHECKING:
    from saccade.hosts import Host

FORMAT, VERSION = "saccade.heads", 1


class HeadError(SaccadeError):
    """A set of heads that is malformed, or used in a way that cannot work."""


class Head(NamedTuple):
    """One head: its layer in the main stack, or the name of a site of another one; its index there; its score."""

    layer: int | str
    head: int
    score: float = 0.0

    @property
    def place(self) -> tuple[int | str, int]:
        """The head without its score."""
        return self.layer, self.head

    def __str__(self) -> str:
        return f"L{self.layer}H{self.head}" if isinstance(self.layer, int) else f"{self.layer}.H{self.head}"


@dataclass(frozen=True, init=False, repr=False)
class HeadSet:
    """An immutable set of heads, the best first. It can stand wherever ``at=`` can.

    Heads of the main stack (see :class:`~saccade.core.sites.Site`) are addressed by layer number, all others by site
    name. Equal scores keep the order in which they were given.

    Args:
        heads: ``(layer, head)`` or ``(layer, head, score)`` each, or a mapping from layers to lists of heads.
        kind: what the score means, for people.
        model: the model that the heads belong to, where known.

    Raises:
        HeadError: a head given twice, a score that is NaN, or something that is not a head.

    Example:
        >>> found = HeadSet([(3, 0, 0.2), (1, 5, 0.9), (3, 2, 0.4)], kind="retrieval")
        >>> found.top(2)
        HeadSet(retrieval: L1H5 L3H2)
        >>> found - found.top(1), (3, 2) in found
        (HeadSet(retrieval: L3H2 L3H0), True)
        >>> found.by_layer()
        {1: [5], 3: [2, 0]}
    """

    heads: tuple[Head, ...]
    kind: str
    model: Fingerprint | None

    def __init__(
        self,
        heads: Iterable[Sequence[int | str | float]] | Mapping[int | str, Sequence[int]] = (),
        kind: str = "",
        model: Fingerprint | None = None,
    ) -> None:
        if isinstance(heads, Mapping):
            heads = [(layer, head) for layer, indices in heads.items() for head in indices]
        items = sorted((_head(item) for item in heads), key=lambda item: -item.score)
        twice = [str(Head(*place)) for place, count in Counter(item.place for item in items).items() if count > 1]
        if twice:
            raise HeadError(f"a set has each head once, but {', '.join(twice)} came more than once.")
        object.__setattr__(self, "heads", tuple(items))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "model", model)

    @classmethod
    def all(cls, lm: Host, at: At = None) -> Self:
        """Every head of a model, or every one that ``at`` picks; scores are 0.

        Args:
            lm: an attached model.
            at: as for edits: heads of every site, ``{layer or site glob: heads}``, a glob of site names, a HeadSet.
        """
        found = []
        for site in lm.sites:
            if not site.heads:
                raise SiteError(f"how many heads {site.name} has is known after its first call: run the model once.")
            picked = heads_at(at, site, site.heads)
            found += [(_address(site), head) for head in (range(site.heads) if picked is None else picked)]
        if not found:
            raise SiteError(f"at={at!r} picks no head of any site; the sites are {[site.name for site in lm.sites]}.")
        return cls(found, model=fingerprint(lm))

    @classmethod
    def from_scores(
        cls, scores: Tensor | Mapping[int | str, Tensor], kind: str = "", model: Fingerprint | None = None
    ) -> Self:
        """Every head with its score.

        Args:
            scores: ``[layers, heads]``, or ``[heads]`` by layer or site name where their numbers differ.
            kind: what the score means.
            model: the model that the heads belong to.

        Example:
            >>> import torch
            >>> HeadSet.from_scores(torch.tensor([[0.1, 0.7], [0.4, 0.2]])).top(2)
            HeadSet(L0H1 L1H0)
        """
        if isinstance(scores, Tensor):
            if scores.dim() != 2:
                raise HeadError(f"scores are a tensor [layers, heads], found {list(scores.shape)}.")
            scores = dict(enumerate(scores))
        rows = {layer: row.detach().float().tolist() for layer, row in scores.items()}
        return cls([(layer, head, score) for layer, row in rows.items() for head, score in enumerate(row)], kind, model)

    @classmethod
    def random(
        cls,
        among: Host | HeadSet,
        like: HeadSet,
        seed: int = 0,
        *,
        disjoint: bool = True,
        by_layer: bool = False,
    ) -> Self:
        """As many random heads as ``like`` has: the control that a set of heads needs.

        Args:
            among: an attached model (heads of its main stack), or the set to draw from.
            like: the set to match.
            seed: the same seed gives the same heads.
            disjoint: draw no head of ``like``.
            by_layer: as many heads as ``like`` in every layer, too.

        Raises:
            HeadError: there are not enough heads to draw from.
        """
        pool = among if isinstance(among, HeadSet) else main_heads(among)
        pool = pool - like if disjoint else pool
        generator = np.random.default_rng(seed)
        groups = [(item.layer,) for item in like] if by_layer else [()]
        drawn: list[Head] = []
        for group in dict.fromkeys(groups):
            wanted = sum(not group or item.layer == group[0] for item in like)
            open_heads = [item for item in pool if not group or item.layer == group[0]]
            if wanted > len(open_heads):
                where = f" in layer {group[0]}" if group else ""
                raise HeadError(
                    f"{wanted} random heads are asked for{where}, but there are only {len(open_heads)} to draw from; "
                    "use fewer heads, or disjoint=False."
                )
            drawn += [open_heads[index] for index in generator.choice(len(open_heads), wanted, replace=False)]
        return cls([item.place for item in drawn], "random", pool.model)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that :meth:`save` wrote, or a plain ``{"layer": [heads]}`` as other tools publish it."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise HeadError(f"{path} is not JSON: {error}.") from None
        if isinstance(data, dict) and data and all(key.isdigit() for key in data):
            return cls([(int(layer), head) for layer, heads in data.items() for head in heads])
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise HeadError(f'{path} holds no heads: neither "format": "{FORMAT}" nor a mapping of layers to heads.')
        if data.get("version") != VERSION:
            raise HeadError(f"{path} is of version {data.get('version')}; this release reads version {VERSION}.")
        model = data.get("model")
        return cls(data["heads"], data.get("kind", ""), Fingerprint(**model) if model else None)

    def save(self, path: str | Path) -> None:
        """Write JSON, one head a line."""
        head = {"format": FORMAT, "version": VERSION, "kind": self.kind, "model": self.model and asdict(self.model)}
        rows = ",\n".join(f"    {json.dumps(list(item))}" for item in self)
        Path(path).write_text(json.dumps(head, indent=2)[:-2] + f',\n  "heads": [\n{rows}\n  ]\n}}\n', encoding="utf-8")

    def top(self, n: int | float) -> Self:
        """The ``n`` best heads; a float in (0, 1] is a share of the set, rounded up."""
        if isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n):
            raise HeadError(f"top takes a number of heads or a share of them, found {n!r}.")
        if isinstance(n, float) and not 0.0 < n <= 1.0:
            raise HeadError(f"a share of the heads lies in (0, 1], found {n}; for a number of heads give an integer.")
        count = math.ceil(n * len(self)) if isinstance(n, float) else n
        if not 0 < count <= len(self):
            raise HeadError(f"top({n}) of a set of {len(self)} heads: ask for 1 to {len(self)}.")
        return self._with(self.heads[:count])

    def above(self, score: float) -> Self:
        """The heads with a score greater than ``score``."""
        return self._with([item for item in self if item.score > score])

    def negated(self) -> Self:
        """The same heads with their scores and their order turned round."""
        return self._with([Head(*item.place, -item.score) for item in self])

    def by_layer(self) -> dict[int | str, list[int]]:
        """Head indices by layer or site name, the best first."""
        found: dict[int | str, list[int]] = {}
        for item in self:
            found.setdefault(item.layer, []).append(item.head)
        return found

    def heads_at(self, site: Site) -> list[int]:
        """Heads of the set at ``site``; see :class:`~saccade.core.sites.PicksHeads`."""
        return [item.head for item in self if item.layer == site.name or (site.main and item.layer == site.layer)]

    def check(self, lm: Host) -> Self:
        """This set, if the model has every head of it.

        Raises:
            SiteError: the model lacks some of them.
        """
        there = {item.place for item in HeadSet.all(lm)} | {(s.name, h) for s in lm.sites for h in range(s.heads)}
        missing = [str(item) for item in self if item.place not in there]
        if missing:
            raise SiteError(f"{lm!r} lacks {len(missing)} of the {len(self)} heads: {', '.join(missing[:8])}.")
        return self

    def belongs_to(self, lm: Host) -> bool:
        """Whether the heads were found on this very model: same architecture, same weights."""
        return self.model == fingerprint(lm)

    def __and__(self, other: HeadSet) -> Self:
        """Heads of both sets, with the scores of the left one."""
        there = self._places_of(other)
        return self._with([item for item in self if item.place in there], other)

    def __or__(self, other: HeadSet) -> Self:
        """Heads of either set; where a head is in both, with the score of the left one."""
        self._places_of(other)
        mine = {item.place for item in self}
        return self._with([*self, *(item for item in other if item.place not in mine)], other)

    def __sub__(self, other: HeadSet) -> Self:
        """Heads of the left set that the right one lacks."""
        there = self._places_of(other)
        return self._with([item for item in self if item.place not in there])

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Head]:
        return iter(self.heads)

    def __contains__(self, place: object) -> bool:
        """Whether ``(layer, head)`` is in the set."""
        return isinstance(place, tuple) and any(item.place == place[:2] for item in self)

    def __repr__(self) -> str:
        shown = " ".join(map(str, self.heads[:12]))
        more = f" ... {len(self)} heads" if len(self) > 12 else ""
        return f"{type(self).__name__}({f'{self.kind}: ' if self.kind else ''}{shown or 'no heads'}{more})"

    def _with(self, heads: Iterable[Head], other: HeadSet | None = None) -> Self:
        kinds = [self.kind] if other is None else list(dict.fromkeys(filter(None, (self.kind, other.kind))))
        return type(self)(heads, ", ".join(kinds), self.model or (other.model if other else None))

    def _places_of(self, other: HeadSet) -> set[tuple[int | str, int]]:
        if not isinstance(other, HeadSet):
            raise HeadError(f"a HeadSet can be joined with a HeadSet only, found {type(other).__name__}.")
        if self.model and other.model and self.model != other.model:
            raise HeadError(f"the heads are of different models: {self.model} and {other.model}.")
        kinds = [{type(item.layer) for item in side} for side in (self, other)]
        if all(kinds) and not kinds[0] & kinds[1]:
            raise HeadError(
                "one set names its heads by layer, the other by site, so that no head could be in both; name the heads "
                "of the main stack by layer in both."
            )
        return {item.place for item in other}


def main_heads(lm: Host) -> HeadSet:
    """Every head of the main stack."""
    return HeadSet.all(lm, at={site.name: None for site in lm.sites if site.main})


def _address(site: Site) -> int | str:
    return site.layer if site.main else site.name


def _head(item: Sequence[int | str | float]) -> Head:
    try:
        layer, head, *rest = item
        score = float(rest[0]) if rest else 0.0
        good = len(rest) <= 1 and isinstance(layer, int | str) and not isinstance(layer, bool) and int(head) == head
    except (TypeError, ValueError):
        good = False
    if not good:
        raise HeadError(f"a head is (layer or site name, head) or (layer or site name, head, score), found {item!r}.")
    if math.isnan(score):
        raise HeadError(f"the score of head {head} of {layer} is not a number.")
    if int(head) < 0 or (isinstance(layer, int) and layer < 0):
        raise HeadError(f"layers and heads count from 0, found layer {layer}, head {head}.")
    return Head(layer, int(head), score)  # type: ignore[arg-type]
