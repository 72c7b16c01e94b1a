"""What a context leaves behind: measurements (`Seen`) and the proof that edits acted (`Effect`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from saccade.core.edits import Edit
from saccade.core.errors import EditError, MeasureError, SiteError
from saccade.core.measures import Measure, Pooled, Received, Rows, TopK

Value = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Reading:
    """One measured call: its value, the span names of its last dimension, and the token index of its first key."""

    value: Value
    names: tuple[str, ...]
    first: int

    @property
    def tensor(self) -> Tensor:
        """The value of a measure that is not a pair."""
        assert isinstance(self.value, Tensor)
        return self.value


class Series:
    """Everything that one measure read, by site.

    Attributes:
        measure: the measure.
        names: span names of the last dimension of a :class:`~saccade.core.measures.Mass`, else empty.
    """

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self._readings: dict[str, list[Reading]] = {}

    def add(self, site: str, reading: Reading) -> None:
        """Append one call."""
        self._readings.setdefault(site, []).append(reading)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites that were read, in the order of their first call."""
        return tuple(self._readings)

    @property
    def names(self) -> tuple[str, ...]:
        """Span names of the last dimension, over all sites."""
        return tuple(dict.fromkeys(name for site in self.sites for name in self.names_at(site)))

    def names_at(self, site: str) -> tuple[str, ...]:
        """Span names of the last dimension at one site."""
        return tuple(dict.fromkeys(name for reading in self._at(site) for name in reading.names))

    def calls(self, site: str) -> tuple[Value, ...]:
        """The values of each call at a site, as they came."""
        return tuple(reading.value for reading in self._at(site))

    def site(self, name: str) -> Value:
        """All calls at a site as one value.

        Rows of later calls (decoding, windows of a vision tower) follow those of earlier ones:
        ``[B, H, rows, ...]``. What each key received, ``[B, H, K]``, is summed over calls. A
        :class:`~saccade.core.measures.Pooled` map has no rows to append: read :meth:`calls`.
        """
        readings = self._at(name)
        if isinstance(self.measure, TopK):
            pairs = [(reading.value[0], reading.value[1] + reading.first) for reading in readings]
            return _append([weights for weights, _ in pairs]), _append([indices for _, indices in pairs])
        values = [reading.tensor for reading in readings]
        if isinstance(self.measure, Received | Rows):
            values = _align(values, [reading.first for reading in readings])
            return torch.stack(values).sum(0) if isinstance(self.measure, Received) else _append(values)
        if isinstance(self.measure, Pooled) and len(values) > 1:
            raise MeasureError(f"site {name} was called {len(values)} times; maps do not append: use calls({name!r}).")
        if readings[0].names:
            values = [_on(reading, self.names_at(name)) for reading in readings]
        return _append(values)

    def stack(self) -> Tensor:
        """All sites, ``[sites, B, H, ...]``; they must have one shape."""
        if not self._readings:
            raise self._nothing()
        if isinstance(self.measure, TopK):
            raise MeasureError(f"{self.measure.name} is a pair of tensors; read it site by site with site(name).")
        values = [value for name in self.sites if isinstance(value := self.site(name), Tensor)]
        shapes = {name: tuple(value.shape) for name, value in zip(self.sites, values, strict=True)}
        if len(set(shapes.values())) > 1:
            raise MeasureError(f"sites of different shapes do not stack: {shapes}; choose some with watch(sites=...).")
        return torch.stack(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self._readings)

    def __repr__(self) -> str:
        return f"Series({self.measure.name}: {len(self)} sites)"

    def _at(self, name: str) -> list[Reading]:
        if not self._readings:
            raise self._nothing()
        try:
            return self._readings[name]
        except KeyError:
            raise SiteError(
                f"{self.measure.name} was not read at {name!r}; it was read at {list(self.sites)}."
            ) from None

    def _nothing(self) -> MeasureError:
        return MeasureError(
            f"{self.measure.name} has read nothing: the model was not called inside the context, or no site that was "
            "called has spans to read."
        )


class Seen:
    """Results of a ``watch``, by measure name: ``seen["mass"].site("text.0.self")``."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        self._series = {measure.name: Series(measure) for measure in measures}

    def __getitem__(self, name: str) -> Series:
        try:
            return self._series[name]
        except KeyError:
            raise MeasureError(f"no measure {name!r} was asked for; measures of this watch: {list(self)}.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        return f"Seen({', '.join(map(repr, self._series.values()))})"


@dataclass
class EditEffect:
    """What one edit did.

    Attributes:
        calls: attention calls that it changed.
        rows: rows (sample, head, query) that it reached.
        masses: site -> (before, after), the mean attention mass on its span at the last row that it reached in the
            first call, over samples and edited heads; for edits of a span only.
    """

    edit: Edit
    calls: int = 0
    rows: int = 0
    masses: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def before(self) -> float | None:
        """Mean mass on the span without this context's edits, over sites."""
        return _mean([before for before, _ in self.masses.values()])

    @property
    def after(self) -> float | None:
        """Mean mass on the span with them."""
        return _mean([after for _, after in self.masses.values()])

    def __str__(self) -> str:
        span = getattr(self.edit, "span", None)
        label = type(self.edit).__name__ + (f"({span!r})" if span is not None else "")
        text = f"{label}: {self.calls} calls, {self.rows} rows"
        return text if self.before is None else f"{text}, mass {self.before:.4f} -> {self.after:.4f}"


class Effect:
    """Proof of what a ``steer`` did, edit by edit. ``str(effect)`` is a short table."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self.edits = tuple(EditEffect(edit) for edit in edits)

    @property
    def calls(self) -> int:
        """Attention calls that some edit changed."""
        return max((edit.calls for edit in self.edits), default=0)

    @property
    def rows(self) -> int:
        """Rows reached, over all edits."""
        return sum(edit.rows for edit in self.edits)

    def __iter__(self) -> Iterator[EditEffect]:
        return iter(self.edits)

    def __len__(self) -> int:
        return len(self.edits)

    def __getitem__(self, index: int) -> EditEffect:
        return self.edits[index]

    def __str__(self) -> str:
        return "\n".join(map(str, self.edits)) or "no edits"

    __repr__ = __str__

    def check(self, called: bool) -> None:
        """Raise if an edit touched nothing."""
        for edit in self.edits:
            if edit.rows == 0:
                why = (
                    "no site that was called has its span, its heads and its query rows at once; look at lm.sites, the "
                    "spans of the prompt, and at=."
                    if called
                    else "the model was not called inside the context (or only in another thread)."
                )
                raise EditError(f"{str(edit).split(':')[0]} touched nothing: {why}")


def _append(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.cat(list(values), dim=2)


def _align(values: Sequence[Tensor], firsts: Sequence[int]) -> list[Tensor]:
    """Pad values over keys so that column j is token j in all of them."""
    end = max(first + value.shape[-1] for value, first in zip(values, firsts, strict=True))
    return [pad(value, (first, end - first - value.shape[-1])) for value, first in zip(values, firsts, strict=True)]


def _on(reading: Reading, names: tuple[str, ...]) -> Tensor:
    """Masses in the order of ``names``; a span that did not exist yet had none."""
    value = reading.tensor
    if reading.names == names:
        return value
    columns = [
        value[..., reading.names.index(name)] if name in reading.names else torch.zeros_like(value[..., 0])
        for name in names
    ]
    return torch.stack(columns, dim=-1)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
