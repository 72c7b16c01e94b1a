"""Grouped-query attention, and how multi-head weights become grouped ones (paper 367)."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.core.errors import MechanismError
from saccade.mechanisms.baseline.softmax import Softmax
from saccade.mechanisms.info import PATTERNS, Info
from saccade.mechanisms.layer import Projected
from saccade.mechanisms.registry import mechanism


class GroupedQuery(Softmax):
    """out_h = softmax(q_h·k_g / √d) v_g: query head h reads key-value head g = h // (heads / kv_heads).

    Softmax attention with ``kv_heads`` below ``heads``: multi-query at 1, multi-head at ``heads``. ``regroup`` makes it
    from a trained multi-head layer; the paper then trains on for 5% of the original steps.
    """

    info = Info(
        name="grouped-query",
        summary="softmax attention whose query heads share key-value heads in groups",
        papers=(367,),
        family="heads",
        patterns=PATTERNS,
        cost=2,
        decode="cache",
        fast="saccade.core.attention: the fused kernel wherever it is exact",
    )


def pool_heads(weight: Tensor, groups: int) -> Tensor:
    """Means over ``groups`` equal stretches of the heads of ``weight`` [H,...]: [groups,...].

    >>> pool_heads(torch.tensor([[1.0], [3.0], [5.0], [9.0]]), 2).flatten()
    tensor([2., 7.])
    """
    if groups < 1 or len(weight) % groups:
        raise MechanismError(f"{len(weight)} heads cannot be pooled to {groups} groups of one size")
    pooled: Tensor = weight.unflatten(0, (groups, -1)).mean(dim=1)
    return pooled


@torch.no_grad()
def regroup(layer: Projected, kv_heads: int) -> Projected:
    """A copy of ``layer`` with its key-value heads pooled to ``kv_heads`` by their means; everything else is kept.

    >>> multi = mechanism("softmax", dim=8, heads=4)
    >>> regroup(multi, 2).shape.kv_heads
    2
    """
    before = layer.shape.kv_heads
    made = mechanism(**{**layer.config, "kv_heads": kv_heads})
    state = layer.state_dict()
    for name in ("k.weight", "v.weight", "k.bias", "v.bias"):
        if name in state:
            state[name] = pool_heads(state[name].unflatten(0, (before, -1)), kv_heads).flatten(0, 1)
    assert isinstance(made, Projected)
    made.to(layer.q.weight).load_state_dict(state)
    return made
