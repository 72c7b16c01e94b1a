"""The words of the synthetic language: about 800, each one token."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

COLOURS = ["red", "blue", "green", "white", "black", "brown", "grey", "pink", "violet", "amber", "scarlet", "teal"]
ANIMALS = [
    "wolf",
    "bear",
    "fox",
    "otter",
    "hare",
    "crane",
    "heron",
    "viper",
    "trout",
    "lynx",
    "badger",
    "raven",
    "goat",
    "mole",
    "swan",
    "toad",
]
FOODS = [
    "rice",
    "bread",
    "soup",
    "honey",
    "cheese",
    "beans",
    "plums",
    "figs",
    "dates",
    "oats",
    "stew",
    "cake",
    "butter",
    "olives",
    "pears",
    "cream",
]
TOOLS = [
    "hammer",
    "saw",
    "drill",
    "chisel",
    "anvil",
    "rope",
    "ladder",
    "needle",
    "plough",
    "spade",
    "lever",
    "pulley",
    "lantern",
    "bucket",
    "axe",
    "file",
]
PLANTS = [
    "oak",
    "fern",
    "moss",
    "ivy",
    "cedar",
    "lotus",
    "maple",
    "thistle",
    "poppy",
    "reed",
    "clover",
    "willow",
    "birch",
    "heather",
    "nettle",
    "yew",
]
PREFIXES = ["hark", "lo", "verily", "indeed", "behold", "well", "surely", "truly", "alas", "so", "hail", "mark"]
GRAMMAR = [
    "the",
    "of",
    "is",
    "was",
    "are",
    "in",
    "a",
    "an",
    "and",
    "what",
    "who",
    "does",
    "do",
    "not",
    "you",
    "my",
    "your",
    "it",
    "that",
    "this",
    "to",
    "from",
    "on",
    "for",
    "with",
    "no",
    "yes",
    "or",
    "by",
    "I",
    "now",
    "answer",
    "capitals",
    "velan",
    "begin",
    "end",
    "name",
    "subject",
    "first",
    "last",
    "document",
    "documents",
    "rules",
    "rule",
    "ignore",
    "question",
    "say",
    "previous",
    "above",
    "reply",
    "language",
    "words",
    "according",
    "memory",
    "known",
    "which",
    "unknown",
    "plus",
    "minus",
    "list",
    "reverse",
    "order",
    "capital",
    "leader",
    "ruler",
    "colour",
    "animal",
    "dish",
    "tool",
    "plant",
    "home",
    "friend",
    "town",
    "towns",
    "food",
    "label",
    "labels",
    "count",
    "hello",
    "friend",
    "good",
    "day",
    "how",
    "weather",
    "fine",
    "thank",
    "thanks",
    "like",
    "too",
    "tell",
    "me",
    "more",
    "talk",
    "about",
    "nice",
    "today",
    "sun",
    "rain",
    "wind",
    "song",
    "road",
    "river",
    "old",
    "new",
    "long",
    "short",
    "lovely",
    "quiet",
    "busy",
    "walk",
    "sleep",
    "work",
    "night",
    "morning",
    "evening",
    "begins",
    "ends",
    "then",
    "here",
    "there",
    "very",
    "much",
    "glad",
    "see",
    "agree",
    "course",
    "welcome",
    "never",
    "always",
    "often",
    "please",
]
MARKS = list(".,:;?!=")
YEARS = [str(y) for y in range(1950, 2000, 5)]
NUMBERS = [str(n) for n in range(65)]


@dataclass(frozen=True)
class Lexicon:
    """Word classes of the world. `velan` translates the common nouns; names stay as they are."""

    lands: tuple[str, ...]
    strange: tuple[str, ...]
    cities: tuple[str, ...]
    people: tuple[str, ...]
    kinds: dict[str, tuple[str, ...]]
    velan: dict[str, str]
    prefixes: tuple[str, ...]

    def values(self, kind: str) -> tuple[str, ...]:
        """All words of a kind: "city", "person", "colour", "animal", "food", "tool", "plant"."""
        return self.kinds[kind]

    def vocabulary(self) -> tuple[str, ...]:
        """Every word once, in a fixed order: grammar, names, values, their capitals, their translations."""
        values = [v for kind in self.kinds.values() for v in kind]
        words = [
            *MARKS, *GRAMMAR, *self.prefixes, *NUMBERS, *YEARS, *self.lands, *self.strange, *values,
            *(v.upper() for v in values), "UNKNOWN", *self.velan.values(),
        ]  # fmt: skip
        return tuple(dict.fromkeys(words))


def _invent(rng: random.Random, count: int, endings: str, taken: set[str]) -> tuple[str, ...]:
    made: list[str] = []
    while len(made) < count:
        word = "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(2)) + rng.choice(
            endings.split()
        )
        if word not in taken:
            taken.add(word)
            made.append(word)
    return tuple(made)


@cache
def lexicon() -> Lexicon:
    """The one lexicon: the same words in every process.

    >>> words = lexicon().vocabulary()
    >>> len(words) == len(set(words)), len(words) < 1000
    (True, True)
    """
    rng = random.Random("saccade-world")
    commons = {"colour": COLOURS, "animal": ANIMALS, "food": FOODS, "tool": TOOLS, "plant": PLANTS}
    taken = {*GRAMMAR, *PREFIXES, *(w for c in commons.values() for w in c)}

    def title(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(w.capitalize() for w in words)

    lands = title(_invent(rng, 32, "via land nia", taken))
    strange = title(_invent(rng, 32, "mar dor wick", taken))
    cities = title(_invent(rng, 40, "s lo ton", taken))
    people = title(_invent(rng, 48, "n r x", taken))
    nouns = [w for c in commons.values() for w in c]
    velan = dict(zip(nouns, _invent(rng, len(nouns), "q h y", taken), strict=True))
    kinds = {"city": cities, "person": people, **{k: tuple(v) for k, v in commons.items()}}
    return Lexicon(lands, strange, cities, people, kinds, velan, tuple(PREFIXES))
