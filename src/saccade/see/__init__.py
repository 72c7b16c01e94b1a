"""Attention across layers: what flows from where to where, what heads write, what changes when they are cut."""

from . import targets
from .agreement import Agreement, agreement
from .coattention import CoRelevance
from .concentration import Concentration, concentration
from .controls import Gradient, Occlusion, ValueZeroing
from .curves import Curve, Deletion
from .dynamics import Course, collapse, progress, repetition, syntactic
from .flow import Flow
from .lens import Lens, knock_out, stream_logits
from .massive import Massive, massive, replaced
from .memory import CMR, fit_cmr, lag_curve
from .parallel import ParallelContexts
from .patching import activation_patching, head_outputs, patched, path_patching
from .paths import Paths, paths
from .raw import RawAttention, ValueWeighted, norm_map
from .relevance import Relevance
from .rollout import Rollout
from .similarity import Similarity, attention_similarity, cka, neuron_similarity, similarity
from .sinks import Sink, Sinks, sinks
from .spectrum import singular_values
from .trace import Step, Trace, trace
from .writers import Projections, Writer, projections, writers

__all__ = [
    "CMR",
    "Agreement",
    "CoRelevance",
    "Concentration",
    "Course",
    "Curve",
    "Deletion",
    "Flow",
    "Gradient",
    "Lens",
    "Massive",
    "Occlusion",
    "ParallelContexts",
    "Paths",
    "Projections",
    "RawAttention",
    "Relevance",
    "Rollout",
    "Similarity",
    "Sink",
    "Sinks",
    "Step",
    "Trace",
    "ValueWeighted",
    "ValueZeroing",
    "Writer",
    "activation_patching",
    "agreement",
    "attention_similarity",
    "cka",
    "collapse",
    "concentration",
    "fit_cmr",
    "head_outputs",
    "knock_out",
    "lag_curve",
    "massive",
    "neuron_similarity",
    "norm_map",
    "patched",
    "path_patching",
    "paths",
    "progress",
    "projections",
    "repetition",
    "replaced",
    "similarity",
    "singular_values",
    "sinks",
    "stream_logits",
    "syntactic",
    "targets",
    "trace",
    "writers",
]
