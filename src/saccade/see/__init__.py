"""Attention across layers: what flows from where to where, what heads write, what changes when they are cut."""

from . import targets
from .agreement import Agreement, agreement
from .controls import Gradient, Occlusion, ValueZeroing
from .curves import Curve, Deletion
from .flow import Flow
from .raw import RawAttention, ValueWeighted, norm_map
from .relevance import Relevance
from .rollout import Rollout
from .trace import Step, Trace, trace
from .writers import Projections, Writer, projections, writers

__all__ = [
    "Agreement",
    "Curve",
    "Deletion",
    "Flow",
    "Gradient",
    "Occlusion",
    "Projections",
    "RawAttention",
    "Relevance",
    "Rollout",
    "Step",
    "Trace",
    "ValueWeighted",
    "ValueZeroing",
    "Writer",
    "agreement",
    "norm_map",
    "projections",
    "targets",
    "trace",
    "writers",
]
