"""Papers and their claims: the catalogue, and one executable claim a file.

>>> from saccade.repro import papers
>>> len(papers), papers[60].family
(402, 'STEER')
"""

from .catalogue import FAMILIES, STATUSES, Catalogue, Paper, PaperError, papers
from .registry import Claim, ClaimError, claim, claimed, find
from .result import Comparison, Result
from .runner import run

__all__ = [
    "FAMILIES",
    "STATUSES",
    "Catalogue",
    "Claim",
    "ClaimError",
    "Comparison",
    "Paper",
    "PaperError",
    "Result",
    "claim",
    "claimed",
    "find",
    "papers",
    "run",
]
