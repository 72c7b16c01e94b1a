"""Text, chat messages and images to token ids and :class:`~saccade.core.spans.Spans`."""

from .encode import encode
from .image import Grid, center_crop, region
from .markup import literal, mark
from .prompt import Cut, Partial, Prompt
from .selectors import Absent, Chars, Message, Regex, Role, Special, Substring, Union, Within

__all__ = [
    "Absent",
    "Chars",
    "Cut",
    "Grid",
    "Message",
    "Partial",
    "Prompt",
    "Regex",
    "Role",
    "Special",
    "Substring",
    "Union",
    "Within",
    "center_crop",
    "encode",
    "literal",
    "mark",
    "region",
]
