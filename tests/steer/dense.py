"""The equations of the papers on whole float64 matrices, and random calls of attention to try them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

import saccade as sc

Equation = Callable[[Tensor, dict[str, Tensor]], Tensor]
"""(weights [B, H, Q, K], membership [B, 1, 1, K] by span) -> new weights."""


def weights_of(q: Tensor, k: Tensor, mask: Tensor, causal: bool) -> Tensor:
    """A, with rows of zeros where nothing is visible."""
    keys, queries = k.shape[2], q.shape[2]
    k = k.double().repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    logits = q.double() @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    visible = mask[:, None, None, :].expand_as(logits).clone()
    if causal:
        visible &= torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return torch.softmax(logits.masked_fill(~visible, -torch.inf), dim=-1).nan_to_num(0.0)


def normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True).clamp_min(1e-300)


def emphasised(names: tuple[str, ...], alpha: float) -> Equation:
    """PASTA: everything outside the union loses, then the rows are normalised."""

    def equation(weights: Tensor, member: dict[str, Tensor]) -> Tensor:
        inside = torch.stack([member[name] for name in names]).any(0)
        return normalised(torch.where(inside, weights, alpha * weights))

    return equation


def moved(names: tuple[str, ...], wanted: Callable[[Tensor], Tensor]) -> Equation:
    """The mass p on the union becomes ``wanted(p)``; both sides keep their proportions."""

    def equation(weights: Tensor, member: dict[str, Tensor]) -> Tensor:
        inside = torch.stack([member[name] for name in names]).any(0)
        p = (weights * inside).sum(-1, keepdim=True)
        rest = (weights * ~inside).sum(-1, keepdim=True)
        factor = torch.where(inside, wanted(p) / p.clamp_min(1e-300), (1 - wanted(p)) / rest.clamp_min(1e-300))
        return torch.where((p > 0) & (rest > 0), weights * factor, weights)

    return equation


def tuned(name: str, gamma: float) -> Equation:
    """ZeroTuning as its equation has it, by the denominator D."""

    def equation(weights: Tensor, member: dict[str, Tensor]) -> Tensor:
        a = (weights * member[name]).sum(-1, keepdim=True)
        return torch.where(member[name], gamma * weights, weights) / ((gamma - 1) * a + 1)

    return equation


@dataclass(repr=False)
class Call:
    q: Tensor
    k: Tensor
    v: Tensor
    spans: sc.Spans
    mask: Tensor
    causal: bool
    at: list[int] | None

    def run(self, method: Any, engine: str = "auto") -> sc.Result:
        return sc.attention(
            self.q,
            self.k,
            self.v,
            causal=self.causal,
            mask=self.mask,
            spans=self.spans,
            edits=[method],
            measures=[sc.Mass(), sc.Mass(edited=False)],
            engine=engine,
        )

    def dense(self, equation: Equation) -> tuple[Tensor, Tensor]:
        """Values and weights."""
        plain = weights_of(self.q, self.k, self.mask, self.causal)
        member = {name: self.spans[name].expand(len(self.q), -1)[:, None, None, :] for name in self.spans.names}
        edited = plain.clone()
        heads = slice(None) if self.at is None else self.at
        edited[:, heads] = equation(plain, member)[:, heads]
        return edited @ self.v.double().repeat_interleave(self.q.shape[1] // self.v.shape[1], dim=1), edited

    def __repr__(self) -> str:
        return f"Call({list(self.q.shape)}, {list(self.k.shape)}, causal={self.causal}, at={self.at}, {self.spans})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@st.composite
def calls(draw: Any, overlapping: bool = True) -> Call:
    """Grouped heads, left padding, fewer queries than keys as in decoding, a last row that always sees span ``a``."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    batch, kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    keys = draw(st.integers(4, 24))
    queries = draw(st.sampled_from([1, keys // 2, keys]))
    heads, width = kv_heads * group, 8
    mask = torch.ones(batch, keys, dtype=torch.bool)
    members = {name: torch.zeros(batch, keys, dtype=torch.bool) for name in ("a", "b", "bos", "generated")}
    for row in range(batch):
        pad = draw(st.integers(0, keys - 4))
        mask[row, :pad] = False
        members["bos"][row, pad] = True
        for name in ("a", "b"):
            start = draw(st.integers(pad + 1, keys - 2))
            members[name][row, start : draw(st.integers(start + 1, keys))] = True
    if not overlapping:
        members["b"] &= ~members["a"]
    members["generated"][:, keys - draw(st.integers(0, 2)) :] = True
    at = draw(st.none() | st.lists(st.integers(0, heads - 1), min_size=1, max_size=heads, unique=True))
    return Call(
        q=torch.randn(batch, heads, queries, width) * draw(st.sampled_from([0.5, 2.0])),
        k=torch.randn(batch, kv_heads, keys, width),
        v=torch.randn(batch, kv_heads, keys, width),
        spans=sc.Spans(members),
        mask=mask,
        causal=draw(st.booleans()),
        at=at,
    )
