"""Attention across layers: what flows from where to where, what heads write, what changes when they are cut."""

from . import targets
from .agreement import Agreement, agreement
from .concentration import Concentration, concentration
from .controls import Gradient, Occlusion, ValueZeroing
from .curves import Curve, Deletion
from .flow import Flow
from .lens import Lens, knock_out, stream_logits
from .massive import Massive, massive, replaced
from .memory import CMR, fit_cmr, lag_curve
from .patching import activation_patching, head_outputs, patched, path_patching
from .raw import RawAttention, ValueWeighted, norm_map
from .relevance import Relevance
from .rollout import Rollout
from .sinks import Sink, Sinks, sinks
from .spectrum import singular_values
from .trace import Step, Trace, trace
from .writers import Projections, Writer, projections, writers

__all__ = [
    "CMR",
    "Agreement",
    "Concentration",
    "Curve",
    "Deletion",
    "Flow",
    "Gradient",
    "Lens",
    "Massive",
    "Occlusion",
    "Projections",
    "RawAttention",
    "Relevance",
    "Rollout",
    "Sink",
    "Sinks",
    "Step",
    "Trace",
    "ValueWeighted",
    "ValueZeroing",
    "Writer",
    "activation_patching",
    "agreement",
    "concentration",
    "fit_cmr",
    "head_outputs",
    "knock_out",
    "lag_curve",
    "massive",
    "norm_map",
    "patched",
    "path_patching",
    "projections",
    "replaced",
    "singular_values",
    "sinks",
    "stream_logits",
    "targets",
    "trace",
    "writers",
]
