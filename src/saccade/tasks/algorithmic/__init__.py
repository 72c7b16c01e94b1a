"""Algorithmic tasks: short programs that attention must run."""

from saccade.tasks.algorithmic.bursts import Bursts
from saccade.tasks.algorithmic.counting import Counting
from saccade.tasks.algorithmic.find_block import FindBlock
from saccade.tasks.algorithmic.flipflop import FlipFlop
from saccade.tasks.algorithmic.hops import Hops
from saccade.tasks.algorithmic.induction import Induction
from saccade.tasks.algorithmic.missing import Missing
from saccade.tasks.algorithmic.mqar import MQAR
from saccade.tasks.algorithmic.needle import Needle
from saccade.tasks.algorithmic.parity import Parity
from saccade.tasks.algorithmic.random_access import RandomAccess
from saccade.tasks.algorithmic.regression import Regression
from saccade.tasks.algorithmic.selective_copy import SelectiveCopy
from saccade.tasks.algorithmic.symbols import symbols
from saccade.tasks.algorithmic.typoglycemia import Typoglycemia
from saccade.tasks.algorithmic.variables import Variables
from saccade.tasks.algorithmic.walls import Walls
from saccade.tasks.algorithmic.words import Words

__all__ = [
    "MQAR", "Bursts", "Counting", "FindBlock", "FlipFlop", "Hops", "Induction", "Missing", "Needle", "Parity",
    "RandomAccess", "Regression", "SelectiveCopy", "Typoglycemia", "Variables", "Walls", "Words", "symbols",
]  # fmt: skip
