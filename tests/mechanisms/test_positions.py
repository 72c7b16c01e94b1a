"""Position schemes against independent statements of them."""

from __future__ import annotations

import cmath

import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from saccade.core.errors import MechanismError
from saccade.mechanisms import Shape, View, mechanism
from saccade.mechanisms.registry import build_position

SHAPE = Shape(24, 3)


def test_rotary_is_a_complex_rotation():
    scheme = build_position({"name": "rotary", "base": 100.0}, SHAPE)
    x = torch.randn(1, 3, 5, 8, dtype=torch.float64)
    turned = scheme.queries(x, torch.arange(5)[None])
    for n in range(5):
        for i in range(4):
            z = complex(x[0, 1, n, i], x[0, 1, n, i + 4]) * cmath.exp(1j * n * 100.0 ** (-2 * i / 8))
            assert abs(complex(turned[0, 1, n, i], turned[0, 1, n, i + 4]) - z) < 1e-12


def test_rotary_needs_pairs():
    with pytest.raises(MechanismError, match="even head_dim, found 5"):
        build_position("rotary", Shape(10, 2))


def test_rotary_scores_depend_on_the_distance_alone():
    scheme, q = build_position("rotary", SHAPE), torch.randn(1, 3, 1, 8, dtype=torch.float64)
    near, far = (
        (scheme.queries(q, p + 2) * scheme.keys(q, p)).sum() for p in (torch.zeros(1, 1), torch.full((1, 1), 90))
    )
    assert abs(near - far) < 1e-9


def test_alibi_halves_the_slopes():
    view = View.of(4, 4, causal=True, cross=False)
    bias = build_position("alibi", Shape(64, 8)).bias(view, torch.float64)
    for h in range(8):
        assert bias[0, h, 3, 1] == -2 * 0.5 ** (h + 1)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 20)])
def test_t5_buckets_are_those_of_t5(causal, buckets, farthest):
    scheme = build_position({"name": "t5", "buckets": buckets, "max_distance": farthest}, SHAPE)
    distance = torch.arange(-300, 301)
    if causal:
        distance = distance.clamp_min(0)
    expected = T5Attention._relative_position_bucket(-distance, not causal, buckets, farthest)
    assert torch.equal(scheme.bucket(distance, causal), expected)


def test_positions_change_what_they_should():
    torch.manual_seed(0)
    x = torch.randn(1, 6, 24, dtype=torch.float64)
    shuffled = x[:, [2, 0, 4, 1, 3, 5]]
    for name, moves in ((None, False), ("rotary", True), ("alibi", True), ("t5", True)):
        m = mechanism("softmax", dim=24, heads=3, positions=name).double()
        last, other = (m(t)[:, -1] for t in (x, shuffled))
        assert torch.allclose(last, other, atol=1e-9) != moves, name


def test_a_scheme_is_also_a_mechanism():
    torch.manual_seed(0)
    named = mechanism("t5", dim=24, heads=3, buckets=8)
    composed = mechanism("softmax", dim=24, heads=3, positions={"name": "t5", "buckets": 8})
    composed.load_state_dict(named.state_dict())
    x = torch.randn(2, 5, 24)
    assert torch.equal(named(x), composed(x))
    assert named.config["positions"] == {"name": "t5", "buckets": 8, "max_distance": 128}


def test_what_does_not_compose_raises():
    with pytest.raises(MechanismError, match="'alibi', which is of kind 'bias'"):
        mechanism("lightning", dim=24, heads=3, positions="alibi")
    with pytest.raises(MechanismError, match="not a position scheme"):
        mechanism("softmax", dim=24, heads=3, positions="lightning")
    with pytest.raises(MechanismError, match="itself a position scheme"):
        mechanism("alibi", dim=24, heads=3, positions="rotary")
