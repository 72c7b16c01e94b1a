"""See, steer and swap attention in any transformer, at the speed of the fused kernel."""

from . import heads, steer
from .core.attention import Result, attention
from .core.edits import (
    Bias,
    Edit,
    Mask,
    Outside,
    Reallocate,
    Recipe,
    Rewrite,
    Scale,
    ScaleHeads,
    ScaleValues,
    Shift,
    Temper,
)
from .core.errors import (
    EditError,
    EngineError,
    HostError,
    MeasureError,
    MechanismError,
    PromptError,
    SaccadeError,
    ShapeError,
    SiteError,
    SpanError,
)
from .core.measures import Distance, Entropy, LogSumExp, Mass, Measure, Pooled, Received, Rows, TopK
from .core.sites import Site
from .core.spans import Spans
from .heads import HeadSet
from .hosts import attach
