"""What the algorithmic tasks share: an alphabet of short words, and the random baseline over a list of choices."""

from __future__ import annotations

import random
from functools import cache
from itertools import product

from saccade.tasks.example import Example
from saccade.tasks.task import Task

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


@cache
def symbols(count: int) -> tuple[str, ...]:
    """The first `count` symbols: 70 syllables, then pairs of syllables.

    >>> symbols(3), len(set(symbols(500)))
    (('ba', 'be', 'bi'), 500)
    """
    syllables = [c + v for c, v in product(CONSONANTS, VOWELS)]
    pairs = (a + b for a, b in product(syllables, syllables))
    return tuple([*syllables, *(next(pairs) for _ in range(count - len(syllables)))][:count])


class ChoiceTask(Task):
    """A task whose random baseline draws from `meta["choices"]`."""

    def guess(self, example: Example, rng: random.Random) -> str:
        return str(rng.choice(example.meta["choices"]))
