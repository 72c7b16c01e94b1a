"""Where documents stand in a prompt, and what attention makes of it."""

from .basin import AttnRank, Basin
from .middle import FoundInTheMiddle
from .passages import OrderError, Passages, attention_on, prompt_of
from .sorting import AttentionSorting

__all__ = [
    "AttentionSorting",
    "AttnRank",
    "Basin",
    "FoundInTheMiddle",
    "OrderError",
    "Passages",
    "attention_on",
    "prompt_of",
]
