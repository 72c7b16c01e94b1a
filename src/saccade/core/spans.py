"""Named sets of key positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

import torch
from torch import Tensor

from .errors import SpanError


class Spans:
    """Named boolean memberships over key positions, one row per sample.

    Args:
        members: name -> boolean tensor ``[B, K]`` or ``[K]`` (the same for every sample). Spans may overlap and may be
            empty for some samples.

    Raises:
        SpanError: no spans, a tensor that is not boolean, or lengths or batch sizes that disagree.

    Example:
        >>> import torch
        >>> spans = Spans({"rule": torch.tensor([False, True, True, False])})
        >>> spans.names, spans.batch, spans.length
        (('rule',), 1, 4)
        >>> spans["rule"].tolist()
        [[False, True, True, False]]
    """

    __slots__ = ("_cache", "names", "tensor")

    names: tuple[str, ...]
    tensor: Tensor

    def __init__(self, members: Mapping[str, Tensor]) -> None:
        if not members:
            raise SpanError(
                "Spans needs at least one span, found an empty mapping; pass {name: boolean tensor [B, K]}."
            )
        rows = {name: _two_dimensional(name, member) for name, member in members.items()}
        lengths = {name: row.shape[1] for name, row in rows.items()}
        if len(set(lengths.values())) > 1:
            raise SpanError(f"all spans must cover the same keys, found lengths {lengths}; pad them to one length.")
        batches = {name: row.shape[0] for name, row in rows.items() if row.shape[0] != 1}
        if len(set(batches.values())) > 1:
            raise SpanError(f"all spans must cover the same batch, found batch sizes {batches}.")
        batch = max(row.shape[0] for row in rows.values())
        self.names = tuple(rows)
        self.tensor = torch.stack([row.expand(batch, -1) for row in rows.values()], dim=1)
        self._cache: dict[object, object] = {}

    @classmethod
    def from_ranges(
        cls, ranges: Mapping[str, Iterable[tuple[int, int]]], length: int, device: torch.device | str = "cpu"
    ) -> Spans:
        """Spans of half-open ranges ``[start, end)``, the same for every sample.

        Example:
            >>> Spans.from_ranges({"rule": [(1, 3)]}, length=5)["rule"].long().tolist()
            [[0, 1, 1, 0, 0]]
        """
        members = {}
        for name, pairs in ranges.items():
            row = torch.zeros(length, dtype=torch.bool, device=device)
            for start, end in pairs:
                if not 0 <= start <= end <= length:
                    raise SpanError(f"span {name!r} has the range ({start}, {end}), outside the {length} keys.")
                row[start:end] = True
            members[name] = row
        return cls(members)

    @classmethod
    def _of(cls, names: Sequence[str], tensor: Tensor) -> Spans:
        spans = cls.__new__(cls)
        spans.names, spans.tensor, spans._cache = tuple(names), tensor, {}
        return spans

    @property
    def batch(self) -> int:
        """Number of samples; 1 where every sample shares the same spans."""
        return self.tensor.shape[0]

    @property
    def length(self) -> int:
        """Number of key positions K."""
        return self.tensor.shape[2]

    @property
    def device(self) -> torch.device:
        """Device of the memberships."""
        return self.tensor.device

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> Tensor:
        """Membership of one span, boolean ``[B, K]``."""
        return self.tensor[:, self.index(name)]

    def __or__(self, other: Spans) -> Spans:
        """Both sets of spans; a name that stands in both must be given once only."""
        twice = set(self.names) & set(other.names)
        if twice:
            raise SpanError(f"the spans {sorted(twice)} stand on both sides of |; rename one side.")
        return Spans({name: spans[name] for spans in (self, other) for name in spans.names})

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {self[name].sum(-1).tolist()}" for name in self.names)
        return f"Spans({counts} of {self.length} keys)"

    def index(self, name: str) -> int:
        """Place of ``name`` in :attr:`names`; an unknown name raises and shows the nearest one."""
        try:
            return self.names.index(name)
        except ValueError:
            near = get_close_matches(str(name), self.names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SpanError(f"there is no span {name!r}; the spans are {list(self.names)}{hint}") from None

    def union(self, names: Sequence[str]) -> Tensor:
        """Keys in any of the named spans, boolean ``[B, K]``; each key counts once."""
        return self.tensor[:, [self.index(name) for name in names]].any(dim=1)

    def complement(self, names: Sequence[str]) -> Tensor:
        """Keys in none of the named spans, boolean ``[B, K]``."""
        return ~self.union(names)

    def select(self, names: Sequence[str]) -> Spans:
        """Only the named spans, in that order."""
        if not names:
            raise SpanError("select needs at least one name, found none.")
        return Spans._of(names, self.tensor[:, [self.index(name) for name in names]])

    def to(self, device: torch.device | str) -> Spans:
        """The same spans on another device."""
        return self if torch.device(device) == self.device else Spans._of(self.names, self.tensor.to(device))

    def resize(self, length: int) -> Spans:
        """The first ``length`` keys; keys beyond the present end belong to no span.

        Example:
            >>> Spans.from_ranges({"a": [(1, 2)]}, length=2).resize(4)["a"].long().tolist()
            [[0, 1, 0, 0]]
        """
        if length <= self.length:
            return self if length == self.length else Spans._of(self.names, self.tensor[..., :length])
        return Spans._of(self.names, torch.nn.functional.pad(self.tensor, (0, length - self.length)))


def _two_dimensional(name: str, member: Tensor) -> Tensor:
    if not isinstance(member, Tensor) or member.dtype != torch.bool:
        found = f"{member.dtype} tensor" if isinstance(member, Tensor) else type(member).__name__
        raise SpanError(
            f"span {name!r} must be a boolean tensor [B, K] or [K], found {found}; "
            "use Spans.from_ranges for index ranges."
        )
    if member.dim() not in (1, 2):
        raise SpanError(f"span {name!r} must have shape [B, K] or [K], found {list(member.shape)}.")
    return member if member.dim() == 2 else member.unsqueeze(0)
