"""Heads: finding them, sets of them, what each is worth, and taking them out."""

from .ablation import HeadScaling, ZeroAblation
from .attended import Delimiter, FalseInduction, Instruction, Operands, Sink, Syntax
from .data import labelled, repeats
from .features import SequentialAttention
from .fingerprint import Fingerprint, fingerprint
from .headset import Head, HeadError, HeadSet
from .influence import AttentionInfluence, PatternInjection
from .kinds import KINDS, Kind, find
from .knockout import Context, Contrast, Memory, Temporal
from .lofit import LoFiT, Offsets
from .longcontext import AdaptiveWindow, LongContext
from .positions import DuplicateToken, Induction, Offset, Pattern, PreviousToken
from .pruning import prune
from .retrieval import Retrieval
from .rotary import Positional
from .scan import importance, scan
from .scoring import accuracy, certainty, hits, likelihood
from .sensitivity import Memorisation, Sensitivity, answer_loss
from .shapley import Shapley
from .tuning import tuning
from .writing import AnswerWriting

__all__ = [
    "KINDS",
    "AdaptiveWindow",
    "AnswerWriting",
    "AttentionInfluence",
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
    "LoFiT",
    "LongContext",
    "Memorisation",
    "Memory",
    "Offset",
    "Offsets",
    "Operands",
    "Pattern",
    "PatternInjection",
    "Positional",
    "PreviousToken",
    "Retrieval",
    "Sensitivity",
    "SequentialAttention",
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
