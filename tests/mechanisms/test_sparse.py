"""Sparse mechanisms: against loops over single queries in float64, and the whole suite on images too."""

import math
from itertools import product

import pytest
import torch

from saccade.core.errors import MechanismError
from saccade.mechanisms import find, mechanism
from saccade.mechanisms.linear.local import on_grid
from saccade.testing import checks, conform

H, D = 2, 4


def build(name, **options):
    torch.manual_seed(0)
    m = mechanism(name, dim=H * D, heads=H, **options).double()
    with torch.no_grad():
        for p in m.parameters():
            p.copy_(torch.randn_like(p))
    return m


def by_hand(m, x, seen, bias=None):
    """Attention of one sample ``[N, C]``, query by query, over the keys ``seen(i)``."""
    q, k, v = ((x @ p.weight.T).view(-1, H, D) for p in (m.q, m.k, m.v))
    rows = torch.zeros(len(x), H, D, dtype=x.dtype)
    for i, h in product(range(len(x)), range(H)):
        keys = seen(i)
        logits = torch.stack([q[i, h] @ k[j, h] / math.sqrt(D) + (bias(h, i, j) if bias else 0) for j in keys])
        rows[i, h] = sum(w * v[j, h] for w, j in zip(logits.softmax(0), keys, strict=True))
    return rows.flatten(1) @ m.out.weight.T


def nearest(p, size, window, dilation):
    """The places that p sees along an axis: a window around it, pushed inside."""
    line = list(range(p % dilation, size, dilation))
    at = line.index(p)
    left = at - window // 2
    while left + window > len(line):
        left -= 1
    while left < 0:
        left += 1
    return line[left : left + window]


LINES = [(3, 1, 11), (4, 1, 9), (5, 2, 14), (3, 4, 9), (7, 1, 5), (1, 1, 4), (2, 3, 10)]


@pytest.mark.parametrize(("window", "dilation", "size"), LINES)
def test_neighbourhood_of_a_sequence(window, dilation, size):
    m, x = build("neighbourhood", window=window, dilation=dilation), torch.randn(2, size, H * D).double()
    for b in range(2):
        expected = by_hand(m, x[b], lambda i: nearest(i, size, window, dilation))
        torch.testing.assert_close(m(x, causal=False)[b], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("window", "dilation", "grid"), [(3, 1, (5, 7)), (3, 2, (7, 8)), (4, 1, (4, 9)), (5, 1, (3, 6))]
)
def test_neighbourhood_of_a_grid(window, dilation, grid):
    m = build("neighbourhood", window=window, dilation=dilation, grid=grid)
    x = torch.randn(2, math.prod(grid), H * D).double()

    def seen(i):
        rows, columns = (nearest(p, n, window, dilation) for p, n in zip(divmod(i, grid[1]), grid, strict=True))
        return [r * grid[1] + c for r in rows for c in columns]

    torch.testing.assert_close(m(x, causal=False)[1], by_hand(m, x[1], seen), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("window", "shift", "grid"), [(3, 1, (6, 9)), (4, 2, (7, 10)), (4, 0, (8, 4)), (5, 2, (3, 6))])
def test_shifted_window(window, shift, grid):
    m = build("shifted-window", window=window, shift=shift, grid=grid)
    x = torch.randn(2, math.prod(grid), H * D).double()

    def windows(i):
        return [(p - shift) // window for p in divmod(i, grid[1])]

    def bias(h, i, j):
        rows, columns = (a - b + window - 1 for a, b in zip(divmod(i, grid[1]), divmod(j, grid[1]), strict=True))
        return m.inner.table[h, rows, columns]

    expected = by_hand(m, x[1], lambda i: [j for j in range(len(x[1])) if windows(i) == windows(j)], bias)
    torch.testing.assert_close(m(x, causal=False)[1], expected, rtol=0, atol=1e-12)


def test_a_sequence_in_windows():
    m, x = build("shifted-window", window=4, shift=1), torch.randn(1, 10, H * D).double()
    parts = [range(1), range(1, 5), range(5, 9), range(9, 10)]
    mine = {i: part for part in parts for i in part}
    expected = by_hand(m, x[0], mine.get, lambda h, i, j: m.inner.table[h, i - j + 3])
    torch.testing.assert_close(m(x, causal=False)[0], expected, rtol=0, atol=1e-12)


def on_images(name):
    cls = find(name)
    return type(cls.__name__, (cls,), {"info": on_grid(cls.info)})


NAMES = ["neighbourhood", "shifted-window"]


@pytest.mark.parametrize(("name", "check"), [(name, check) for name in NAMES for check in checks(on_images(name))])
def test_images(name, check):
    conform(on_images(name), only=[check])


@pytest.mark.parametrize("check", ["reference", "padding", "batch", "gradients", "saving"])
def test_dilation_conforms(check):
    conform("neighbourhood", only=[check], dilation=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_must_hold_the_tokens(name):
    with pytest.raises(MechanismError, match="2 × 3 cells does not hold 7 tokens"):
        mechanism(name, dim=8, heads=2, grid=(2, 3))(torch.randn(1, 7, 8), causal=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("neighbourhood", {"window": 0}),
        ("neighbourhood", {"dilation": 0}),
        ("shifted-window", {"window": 0}),
        ("shifted-window", {"window": 4, "shift": 4}),
    ],
)
def test_wrong_options_are_refused(name, options):
    with pytest.raises(MechanismError):
        mechanism(name, dim=8, heads=2, **options)
