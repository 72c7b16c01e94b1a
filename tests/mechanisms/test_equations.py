"""References against oracles written with loops, one output at a time."""

from __future__ import annotations

import math

import pytest
import torch

from saccade.core.errors import MechanismError
from saccade.mechanisms import Shape, State, build, mechanism

B, H, N, D = 2, 4, 7, 6


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def qkv() -> tuple[torch.Tensor, ...]:
    return draw(B, H, N, D, seed=1), draw(B, 2, N, D, seed=2), draw(B, 2, N, D, seed=3)


def softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    e = [math.exp(x - top) for x in logits]
    return [x / sum(e) for x in e]


def test_softmax(qkv):
    q, k, v = qkv
    actual = build("softmax", Shape(H * D, H, 2))(q, k, v, causal=True)
    for b in range(B):
        for h in range(H):
            for i in range(N):
                a = softmax([float(q[b, h, i] @ k[b, h // 2, j]) / math.sqrt(D) for j in range(i + 1)])
                expected = sum(a[j] * v[b, h // 2, j] for j in range(i + 1))
                torch.testing.assert_close(actual[b, h, i], expected, atol=1e-12, rtol=0)


def test_softmax_aligns_to_the_last_key(qkv):
    q, k, v = qkv
    m = build("softmax", Shape(H * D, H, 2))
    whole = m(q, k, v, causal=True)
    torch.testing.assert_close(m(q[:, :, -3:], k, v, causal=True), whole[:, :, -3:], atol=1e-12, rtol=0)
    early = m(q, k[:, :, :2], v[:, :, :2], causal=True)
    assert not early[:, :, : N - 2].any()
    torch.testing.assert_close(early[:, :, N - 2], v[:, :, 0].repeat_interleave(2, dim=1), atol=1e-12, rtol=0)


def test_lightning(qkv):
    q, k, v = qkv
    actual = build("lightning", Shape(H * D, H, 2), chunk=3)(q, k, v, causal=True)
    for h in range(H):
        decay = math.exp(-(2 ** (-8 * (h + 1) / H)))
        memory = torch.zeros(B, D, D, dtype=torch.float64)
        for i in range(N):
            memory = decay * memory + k[:, h // 2, i, :, None] * v[:, h // 2, i, None, :]
            expected = torch.einsum("bd,bde->be", q[:, h, i], memory)
            torch.testing.assert_close(actual[:, h, i], expected, atol=1e-12, rtol=0)


def test_lightning_decays_by_the_positions_given(qkv):
    q, k, v = qkv
    m = build("lightning", Shape(H * D, H, 2), chunk=3)
    positions = torch.tensor([3, 4, 9, 10, 11, 20, 21])
    whole = m(q, k, v, causal=True, positions=positions)
    torch.testing.assert_close(
        whole, m(q, k, v, causal=True, positions=positions, path="reference"), atol=1e-12, rtol=0
    )
    rate = torch.tensor([2 ** (-8 * (h + 1) / H) for h in range(H)], dtype=torch.float64)
    gap = torch.exp(-rate * 16)[None, :, None]
    one = torch.einsum("bhd,bhd->bh", q[:, :, 5], k[:, :, 1].repeat_interleave(2, 1))[..., None]
    others = m(q, k.index_fill(2, torch.tensor(1), 0), v, causal=True, positions=positions)
    expected = one * gap * v[:, :, 1].repeat_interleave(2, 1)
    torch.testing.assert_close(whole[:, :, 5] - others[:, :, 5], expected, atol=1e-12, rtol=0)


def selective_oracle(q, k, v):
    """One sample, one query head a key-value head."""
    heads, n = q.shape[:2]
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    out = torch.zeros_like(q)
    against = torch.zeros(n, n, dtype=q.dtype)
    for i in range(n):
        for j in range(n):
            against[i, j] = sum(max(float(s[0, t, j]), 0.0) for t in range(j + 1, i) if j > 0)
    for i in range(n):
        keys = range(i + 1)
        for h in range(heads):
            a = softmax([float(s[h, i, j] - against[i, j]) for j in keys])
            out[h, i] = sum(w * v[h, j] for w, j in zip(a, keys, strict=True))
    return out


def test_selective():
    q, k, v = (draw(1, 2, N, D, seed=s) for s in (4, 5, 6))
    m = build("selective", Shape(2 * D, 2))
    expected = selective_oracle(q[0], k[0], v[0])
    torch.testing.assert_close(m(q, k, v, causal=True)[0], expected, atol=1e-12, rtol=0)


def test_selective_prunes_what_was_voted_out():
    q, k, v = (draw(1, 2, N, D, seed=s) for s in (4, 5, 6))
    budget, state = 3, State()
    m = build("selective", Shape(2 * D, 2), budget=budget)
    steps = [m(*(t[:, :, i : i + 1] for t in (q, k, v)), causal=True, state=state) for i in range(N)]
    assert state["k"].shape[2] == state["positions"].shape[1] == budget
    expected = selective_oracle_pruned(q[0], k[0], v[0], budget)
    torch.testing.assert_close(torch.cat(steps, dim=2)[0], expected, atol=1e-12, rtol=0)


def selective_oracle_pruned(q, k, v, budget):
    heads, n = q.shape[:2]
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    cache, votes, out = [], {}, torch.zeros_like(q)
    for i in range(n):
        cache, votes[i] = [*cache, i], 0.0
        for h in range(heads):
            a = softmax([float(s[h, i, j]) - votes[j] for j in cache])
            out[h, i] = sum(w * v[h, j] for w, j in zip(a, cache, strict=True))
        for j in cache:
            votes[j] += max(float(s[0, i, j]), 0.0) if 0 < j < i else 0.0
        cache = sorted(sorted(cache, key=lambda j: votes[j])[:budget])
    return out


def test_aaren():
    torch.manual_seed(0)
    m = mechanism("aaren", dim=H * D, heads=H, kv_heads=2).double()
    x = draw(B, N, H * D)
    m.requires_grad_(False)
    q = (m.q.weight @ m.token).view(H, D)
    k = (x @ m.k.weight.T).view(B, N, 2, D)
    v = (x @ m.v.weight.T).view(B, N, 2, D)
    expected = torch.zeros(B, N, H, D, dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            for t in range(N):
                a = softmax([float(q[h] @ k[b, j, h // 2]) / math.sqrt(D) for j in range(t + 1)])
                expected[b, t, h] = sum(a[j] * v[b, j, h // 2] for j in range(t + 1))
    torch.testing.assert_close(m(x), expected.flatten(2) @ m.out.weight.T, atol=1e-12, rtol=0)


def test_aaren_keeps_one_triple_a_head():
    m = mechanism("aaren", dim=H * D, heads=H)
    state = State()
    m(torch.randn(1, 500, H * D), state=state)
    assert {n: tuple(t.shape) for n, t in state.tensors.items() if n != "length"} == {
        "m": (1, H, 1),
        "u": (1, H, 1),
        "w": (1, H, 1, D),
    }


@pytest.mark.parametrize("name", ["aaren", "lightning", "selective"])
def test_causal_ones_refuse_the_other_patterns(name):
    m, x = mechanism(name, dim=8, heads=2), torch.randn(1, 4, 8)
    with pytest.raises(MechanismError, match="does not serve the pattern 'self'"):
        m(x, causal=False)
    with pytest.raises(MechanismError, match="'cross-causal'"):
        m(x, x)
