"""Random calls of attention, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

import saccade as sc

NAMES = ("a", "b", "c")


@dataclass(repr=False)
class Call:
    q: Tensor
    k: Tensor
    v: Tensor
    options: dict[str, Any]
    edits: list[sc.Edit] = field(default_factory=list)
    measures: list[sc.Measure] = field(default_factory=list)

    def run(self, engine: str, dtype: torch.dtype = torch.float32, **changes: Any) -> sc.Result:
        q, k, v = (x.to(dtype) for x in (self.q, self.k, self.v))
        options = {"edits": self.edits, "measures": self.measures, **self.options, **changes}
        return sc.attention(q, k, v, engine=engine, **options)

    def __repr__(self) -> str:
        shown = {k: (list(v.shape), v.dtype) if isinstance(v, Tensor) else v for k, v in self.options.items()}
        shapes = [list(x.shape) for x in (self.q, self.k, self.v)]
        return f"Call({shapes}, {shown}, {self.edits}, {self.measures})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def strengths(draw: Any, shape: tuple[int, int, int], low: float, high: float) -> float | Tensor:
    batch, heads, queries = shape
    kind = draw(st.sampled_from(["number", "number", "head", "row", "full"]))
    if kind == "number":
        return draw(st.floats(low, high))
    size = {"head": (heads,), "row": (1, 1, queries), "full": (batch, heads, queries)}[kind]
    return torch.rand(size) * (high - low) + low


def places(draw: Any, heads: int, queries: int, batch: int, spans: bool, square: bool) -> dict[str, Any]:
    at = None
    if draw(st.booleans()):
        at = draw(st.lists(st.integers(0, heads - 1), min_size=1, max_size=heads, unique=True))
    kinds = ["all", "all", "slice", "index", "mask"] + (["span"] if spans and square else [])
    kind = draw(st.sampled_from(kinds))
    rows: Any = None
    if kind == "slice":
        rows = slice(draw(st.integers(0, queries - 1)), None)
    elif kind == "index":
        rows = draw(st.lists(st.integers(0, queries - 1), min_size=1, max_size=3))
    elif kind == "mask":
        rows = torch.rand(batch, queries) > 0.5
    elif kind == "span":
        rows = draw(st.sampled_from(NAMES))
    return {"at": at, "queries": rows}


def spans_of(draw: Any, batch: int, keys: int) -> dict[str, Tensor]:
    members = {}
    for name in NAMES:
        kind = draw(st.sampled_from(["range", "range", "scattered", "shared"]))
        rows = torch.zeros(batch, keys, dtype=torch.bool)
        for row in rows:
            start = draw(st.integers(0, keys - 1))
            row[start : start + draw(st.integers(1, keys))] = True
        members[name] = torch.rand(batch, keys) > 0.6 if kind == "scattered" else rows[0] if kind == "shared" else rows
    return members


def disjoint(members: dict[str, Tensor]) -> dict[str, Tensor]:
    first, second = members["a"], members["b"]
    return {**members, "b": second & ~first}


WANTED = {
    "half": lambda mass: mass * 0.5,
    "square": lambda mass: mass**2,
    "even": lambda mass: torch.full_like(mass, 0.8 / mass.shape[-1]),
    "whole": lambda mass: mass / mass.sum(-1, keepdim=True).clamp_min(1e-20),
}


def an_edit(
    draw: Any, shape: tuple[int, int, int], width: int, out: int, groups: int, square: bool, sinks: bool
) -> sc.Edit:
    batch, heads, queries = shape
    where = places(draw, heads, queries, batch, True, square)
    span = draw(st.sampled_from(["a", "b", "c", ("a", "b"), sc.Outside("a"), sc.Outside("b", "c")]))
    kind = draw(st.sampled_from(["scale", "scale", "bias", "mask", "temper", "move", "values", "heads", "shift"]))
    if kind == "scale":
        return sc.Scale(span, strengths(draw, shape, 0.01, 10.0), **where)
    if kind == "bias":
        return sc.Bias(span, strengths(draw, shape, -4.0, 4.0), **where)
    if kind == "mask":
        return sc.Mask(span, **where)
    if kind == "temper":
        return sc.Temper(strengths(draw, shape, 0.3, 3.0), **where)
    if kind == "move":
        return sc.Reallocate(
            WANTED[draw(st.sampled_from(["half", "even"] if sinks else sorted(WANTED)))],
            spans=("a", "b"),
            **where,
        )
    if kind == "values":
        return sc.ScaleValues(span, strengths(draw, shape, -1.0, 3.0), **where)
    if kind == "heads":
        return sc.ScaleHeads(strengths(draw, shape, 0.0, 2.0), **where)
    target = draw(st.sampled_from(["q", "k", "v", "out"]))
    size = out if target in ("v", "out") else width
    keys = target in ("k", "v")
    many = heads if not keys or where["at"] is not None else heads // groups
    vector = torch.randn(many, size) if draw(st.booleans()) else torch.randn(size)
    chosen = {"span": draw(st.sampled_from([None, span]))} if keys else {"queries": where["queries"]}
    return sc.Shift(target, vector, at=where["at"], **chosen)


@st.composite
def calls(draw: Any, longest: int = 33) -> Call:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    batch, kv_heads, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    queries = draw(st.integers(1, longest))
    square = draw(st.booleans())
    keys = queries if square else draw(st.integers(1, longest))
    width = draw(st.sampled_from([4, 8, 16]))
    out = draw(st.sampled_from([width, width, 4, 24]))
    heads = kv_heads * groups
    q = torch.randn(batch, heads, queries, width) * draw(st.sampled_from([0.5, 1.0, 3.0]))
    k, v = torch.randn(batch, kv_heads, keys, width), torch.randn(batch, kv_heads, keys, out)
    members = disjoint(spans_of(draw, batch, keys))
    options: dict[str, Any] = {
        "causal": draw(st.booleans()),
        "spans": sc.Spans(members),
        "scale": draw(st.sampled_from([None, None, 0.3])),
        "window": draw(st.sampled_from([None, None, None, 1, 5, 300])),
        "sinks": torch.randn(heads) if draw(st.integers(0, 5)) == 0 else None,
        "softcap": 5.0 if draw(st.integers(0, 7)) == 0 else None,
        "mask": a_mask(draw, batch, heads, queries, keys),
        "bias": torch.randn(1, heads, queries, keys) if draw(st.integers(0, 9)) == 0 else None,
    }
    shape = (batch, heads, queries)
    sinks = options["sinks"] is not None
    edits = [an_edit(draw, shape, width, out, groups, keys >= queries, sinks) for _ in range(draw(st.integers(0, 4)))]
    moves = [edit for edit in edits if isinstance(edit, sc.Reallocate)]
    edits = [edit for edit in edits if edit not in moves[1:]]
    every = [
        sc.Mass(),
        sc.Mass(edited=False),
        sc.Mass(("b",), label="b"),
        sc.Entropy(),
        sc.LogSumExp(),
        sc.Distance(),
        sc.Received(),
        sc.Received(torch.rand(batch, 1, queries), name="weighted"),
        sc.Rows((0, -1)),
        sc.Pooled(min(3, queries), min(4, keys)),
    ]
    return Call(q, k, v, options, edits, draw(st.lists(st.sampled_from(every), unique_by=lambda m: m.name, max_size=6)))


def a_mask(draw: Any, batch: int, heads: int, queries: int, keys: int) -> Tensor | None:
    kind = draw(st.sampled_from(["none", "none", "left", "right", "keys", "dense", "additive", "row", "finfo"]))
    count = torch.randint(0, keys, (batch, 1))
    places = torch.arange(keys)
    if kind == "left":
        return places >= count
    if kind == "right":
        return places < keys - count
    if kind == "keys":
        return torch.rand(batch, keys) > 0.3
    if kind == "dense":
        return torch.rand(batch, draw(st.sampled_from([1, heads])), queries, keys) > 0.3
    if kind == "additive":
        return torch.randn(1, 1, queries, keys).masked_fill(torch.rand(1, 1, queries, keys) > 0.7, -torch.inf)
    if kind == "row":
        return torch.randn(batch, heads, 1, keys)
    if kind == "finfo":
        hidden = torch.rand(batch, 1, queries, keys) > 0.7
        return torch.zeros(batch, 1, queries, keys).masked_fill(hidden, torch.finfo(torch.float32).min)
    return None
