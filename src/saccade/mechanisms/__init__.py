"""A library of attention mechanisms behind one interface.

>>> import torch
>>> m = mechanism("lightning", dim=32, heads=4)
>>> x, state = torch.randn(1, 9, 32), State()
>>> steps = torch.cat([m(x[:, i : i + 1], state=state) for i in range(9)], dim=1)
>>> torch.allclose(steps, m(x), atol=1e-5)
True
"""

from saccade.mechanisms.base import Mechanism, upcast
from saccade.mechanisms.info import Info, Shape, pattern_of
from saccade.mechanisms.layer import Layer, Projected, merge_heads, split_heads
from saccade.mechanisms.position import Position
from saccade.mechanisms.qkv import QKV
from saccade.mechanisms.registry import FAMILIES, build, extra_parameters, find, info, mechanism, names, table
from saccade.mechanisms.scored import Scored, masked_softmax
from saccade.mechanisms.state import State
from saccade.mechanisms.view import View

__all__ = [
    "FAMILIES",
    "QKV",
    "Info",
    "Layer",
    "Mechanism",
    "Position",
    "Projected",
    "Scored",
    "Shape",
    "State",
    "View",
    "build",
    "extra_parameters",
    "find",
    "info",
    "masked_softmax",
    "mechanism",
    "merge_heads",
    "names",
    "pattern_of",
    "split_heads",
    "table",
    "upcast",
]
