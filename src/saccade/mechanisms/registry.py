"""Mechanisms by name. Nothing is imported before it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from saccade.core.errors import MechanismError
from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.info import Info, Shape
from saccade.mechanisms.layer import Layer, Projected
from saccade.mechanisms.position import Position
from saccade.mechanisms.qkv import QKV

FAMILIES = ("baseline", "positions", "linear", "sparse", "expressive", "heads", "recurrent")


def table() -> dict[str, str]:
    """Every name and the "module:Class" behind it."""
    found: dict[str, str] = {}
    for family in FAMILIES:
        package = f"{__package__}.{family}"
        for name, where in import_module(package).MECHANISMS.items():
            if name in found:
                raise MechanismError(f"two mechanisms are called {name!r}: {found[name]} and {package}.{where}")
            found[name] = f"{package}.{where}"
    return found


def find(name: str) -> type[Mechanism] | type[Position]:
    """The class behind a name."""
    known = table()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or sorted(known)
        raise MechanismError(f"no mechanism is called {name!r}; perhaps {', '.join(close)}; names() lists them all")
    module, _, cls = known[name].partition(":")
    found: type[Mechanism] | type[Position] = getattr(import_module(module), cls)
    return found


def info(name: str) -> Info:
    """What the mechanism states about itself.

    >>> info("lightning").cost, info("lightning").decode
    (1, 'recurrent')
    """
    return find(name).info


def names(family: str | None = None, causal: bool | None = None, cost: float | None = None) -> list[str]:
    """The names, sorted: of one family, serving causal self-attention or not, costing at most n^``cost``.

    >>> "lightning" in names(family="linear", causal=True, cost=1)
    True
    """
    if family is not None and family not in FAMILIES:
        raise MechanismError(f"no family is called {family!r}; the families are {', '.join(FAMILIES)}")
    chosen = sorted(table()) if family is None else sorted(import_module(f"{__package__}.{family}").MECHANISMS)
    if causal is not None:
        chosen = [n for n in chosen if info(n).causal == causal]
    return chosen if cost is None else [n for n in chosen if info(n).cost <= cost]


def build_position(positions: str | Mapping[str, Any] | None, shape: Shape) -> Position:
    """A position scheme from its name, from {"name": ..., option: value}, or None for none."""
    options = dict(positions) if isinstance(positions, Mapping) else {"name": positions or "none"}
    name = options.pop("name")
    cls = Position if name == "none" else find(name)
    if not issubclass(cls, Position):
        raise MechanismError(f"{name!r} is a mechanism, not a position scheme; see names(family='positions')")
    return cast("type[Position]", cls)(shape, **options)


def build(
    name: str | type[Mechanism] | type[Position],
    shape: Shape,
    positions: str | Mapping[str, Any] | None = None,
    **options: Any,
) -> Mechanism:
    """The bare mechanism, a QKV or a Layer, without projections around it; a position scheme comes with softmax."""
    cls = find(name) if isinstance(name, str) else name
    if issubclass(cls, Position):
        if positions not in (None, "none"):
            raise MechanismError(f"{cls.info.name!r} is itself a position scheme: leave out positions={positions!r}")
        softmax = find("softmax")
        assert issubclass(softmax, Mechanism)
        return softmax(shape, cls(shape, **options))
    return cls(shape, build_position(positions, shape), **options)


def mechanism(
    name: str | type[Mechanism] | type[Position],
    dim: int,
    heads: int,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    positions: str | Mapping[str, Any] | None = None,
    bias: bool = False,
    **options: Any,
) -> Layer:
    """A mechanism as a layer: ``y = m(x, context=None, causal=True, mask=None)``, x [B,N,dim], mask [B,N] True = token.

    name       a registered name, or a class of one's own
    positions  a position scheme: "rotary", {"name": "rotary", "base": 1e6}, None
    bias       whether the projections have biases
    options    the mechanism's own hyper-parameters; defaults are the paper's

    >>> import torch
    >>> m = mechanism("selective", dim=32, heads=4, kv_heads=2, positions="rotary")
    >>> m(torch.randn(2, 7, 32)).shape
    torch.Size([2, 7, 32])
    """
    shape = Shape(dim, heads, kv_heads or heads, head_dim or 0)
    built = build(name, shape, positions, **options)
    if isinstance(built, QKV):
        return Projected(built, bias=bias)
    assert isinstance(built, Layer)
    if bias:
        raise MechanismError(f"{built.info.name} has its own projections and takes no bias=")
    return built


def extra_parameters(layer: Layer) -> int:
    """Parameters beyond those of a softmax layer of the same shape (negative where it has fewer)."""
    shape = layer.shape
    wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    bias = isinstance(layer, Projected) and layer.q.bias is not None
    plain = 2 * shape.dim * (wide + narrow) + bias * (wide + 2 * narrow + shape.dim)
    return sum(p.numel() for p in layer.parameters()) - plain
