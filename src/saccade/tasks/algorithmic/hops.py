"""The retrieval problem: follow a chain of pairs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask, symbols
from saccade.tasks.example import Example, Script
from saccade.tasks.task import register


@register
@dataclass(frozen=True, kw_only=True)
class Hops(ChoiceTask):
    """Pairs `a > b` in random order and a start; answer the symbol reached after a number of steps [169].

    Each step is one lookup, so the difficulty (1 to 5 steps) sets how many attention layers must be stacked. As many
    chains of the same length as `chains` says stand beside each other; all symbols differ. Span `gold`: the pairs on
    the way.
    """

    name: ClassVar[str] = "algorithmic/hops"
    papers: ClassVar[tuple[int, ...]] = (169,)

    chains: int = 4
    alphabet: int = 128

    def build(self, rng: random.Random) -> Example:
        steps = self.difficulty
        words = rng.sample(symbols(self.alphabet), self.chains * (steps + 1))
        chains = [words[i :: self.chains] for i in range(self.chains)]
        pairs = [(c, i) for c in range(self.chains) for i in range(steps)]
        rng.shuffle(pairs)
        script = Script()
        for c, i in pairs:
            script.write("text", f"{chains[c][i]} > {chains[c][i + 1]} ;", *(("gold",) if c == 0 else ()))
        script.write("text", f"{chains[0][0]} {'> ' * steps}".rstrip(), "query")
        return script.plain(chains[0][-1], choices=tuple(c[-1] for c in chains), steps=steps)

    @property
    def chance(self) -> float:
        return 1 / self.chains
