"""Heads: finding them, sets of them, what each is worth, and taking them out."""

from .ablation import HeadScaling, ZeroAblation
from .attended import Delimiter, FalseInduction, Instruction, Operands, Sink, Syntax
from .data import labelled, repeats
from .fingerprint import Fingerprint, fingerprint
from .headset import Head, HeadError, HeadSet
from .kinds import KINDS, Kind, find
from .knockout import Context, Contrast, Memory, Temporal
from .positions import DuplicateToken, Induction, Offset, Pattern, PreviousToken
from .pruning import prune
from .retrieval import Retrieval
from .scan import importance, scan
from .scoring import accuracy, certainty, hits, likelihood
from .sensitivity import Memorisation, Sensitivity, answer_loss
from .shapley import Shapley
from .tuning import tuning

__all__ = [
    "KINDS",
    "Context",
    "Contrast",
    "Delimiter",
    "DuplicateToken",
    "FalseInduction",
    "Fingerprint",
    "Head",
    "HeadError",
    "HeadScaling",
    "HeadSet",
    "Induction",
    "Instruction",
    "Kind",
    "Memorisation",
    "Memory",
    "Offset",
    "Operands",
    "Pattern",
    "PreviousToken",
    "Retrieval",
    "Sensitivity",
    "Shapley",
    "Sink",
    "Syntax",
    "Temporal",
    "ZeroAblation",
    "accuracy",
    "answer_loss",
    "certainty",
    "find",
    "fingerprint",
    "hits",
    "importance",
    "labelled",
    "likelihood",
    "prune",
    "repeats",
    "scan",
    "tuning",
]
