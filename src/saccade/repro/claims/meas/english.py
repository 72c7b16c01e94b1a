"""English sentences with known syntax, drawn from a small grammar, for claims on the real encoder."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

ANIMATE = [
    "doctor",
    "teacher",
    "farmer",
    "lawyer",
    "pilot",
    "nurse",
    "painter",
    "soldier",
    "student",
    "baker",
    "driver",
    "singer",
    "writer",
    "judge",
    "hunter",
    "sailor",
    "boy",
    "girl",
    "woman",
    "king",
    "queen",
    "thief",
    "guard",
    "waiter",
    "gardener",
    "scientist",
    "engineer",
    "reporter",
    "neighbor",
    "clerk",
]
THINGS = [
    "letter",
    "house",
    "garden",
    "book",
    "table",
    "window",
    "bridge",
    "ship",
    "car",
    "lamp",
    "clock",
    "mirror",
    "basket",
    "ticket",
    "painting",
    "hammer",
    "bottle",
    "coat",
    "guitar",
    "camera",
    "map",
    "chair",
    "wheel",
    "rope",
    "candle",
    "sword",
    "ladder",
    "kettle",
    "blanket",
    "drum",
]
PLACES = [
    "village",
    "kitchen",
    "forest",
    "harbor",
    "office",
    "market",
    "castle",
    "station",
    "river",
    "school",
    "museum",
    "valley",
    "hospital",
    "desert",
]
ADJECTIVES = [
    "old",
    "young",
    "tall",
    "quiet",
    "angry",
    "clever",
    "tired",
    "famous",
    "lonely",
    "rich",
    "poor",
    "brave",
    "strange",
    "gentle",
    "proud",
]
QUALITIES = [
    "broken",
    "heavy",
    "small",
    "red",
    "expensive",
    "ancient",
    "dusty",
    "golden",
    "empty",
    "beautiful",
    "wooden",
    "cheap",
    "green",
    "sharp",
]
VERBS = [
    "sold",
    "found",
    "repaired",
    "painted",
    "carried",
    "stole",
    "bought",
    "lost",
    "noticed",
    "described",
    "wanted",
    "cleaned",
    "moved",
    "opened",
]
MEETINGS = ["visited", "thanked", "followed", "helped", "warned", "called", "admired", "met", "recognized", "blamed"]
ADVERBS = ["quickly", "quietly", "carefully", "finally", "suddenly", "often", "never", "slowly"]
PREPOSITIONS = ["in", "near", "behind", "from", "beside"]
LINKS = ["because", "while", "but", "and", "after", "before"]
RELATIONS = ("determiner", "adjective", "object", "preposition", "subject")
"""Of each a dependent word and its head: determiner -> noun, adjective -> noun, object -> verb,
object of a preposition -> preposition, subject -> verb."""


@dataclass(frozen=True)
class Sentence:
    """Words, and pairs (dependent, head) of word indices by relation."""

    words: tuple[str, ...]
    pairs: dict[str, tuple[tuple[int, int], ...]] = field(hash=False)

    @property
    def text(self) -> str:
        """The sentence as it is written."""
        return " ".join(self.words).replace(" ,", ",").replace(" .", ".").capitalize()


def sentences(count: int, seed: int) -> list[Sentence]:
    """``count`` sentences of two clauses.

    Example:
        >>> sentences(1, 0)[0].text
        '...'
    """
    rng = random.Random(f"english/{seed}")
    return [_sentence(rng) for _ in range(count)]


def prompt(lm: Any, drawn: list[Sentence]) -> tuple[Any, Tensor]:
    """A prompt of the sentences, and the word of each token ``[B, N]``; -1 for delimiters, punctuation and padding."""
    made = lm.prompt([one.text for one in drawn])
    words = torch.full(made.input_ids.shape, -1)
    for sample, one in enumerate(drawn):
        ends, at = [], 0
        for word in one.words:
            at = made.plain[sample].lower().index(word.lower(), at) + len(word)
            ends.append((at - len(word), at))
        for place, (start, end) in enumerate(made.offsets[sample]):
            for index, (first, last) in enumerate(ends):
                if start < end and first <= start < last and one.words[index].isalpha():
                    words[sample, place] = index
    return made, words


def _sentence(rng: random.Random) -> Sentence:
    words: list[str] = []
    pairs: dict[str, list[tuple[int, int]]] = {name: [] for name in RELATIONS}

    def noun(kinds: list[str], adjectives: list[str]) -> int:
        words.append(rng.choice(("the", "a")))
        determiner = len(words) - 1
        extra = rng.random() < 0.6
        if extra:
            words.append(rng.choice(adjectives))
        words.append(rng.choice(kinds))
        here = len(words) - 1
        pairs["determiner"].append((determiner, here))
        if extra:
            pairs["adjective"].append((here - 1, here))
        return here

    def clause() -> None:
        subject = noun(ANIMATE, ADJECTIVES)
        if rng.random() < 0.5:
            words.append(rng.choice(ADVERBS))
        person = rng.random() < 0.3
        words.append(rng.choice(MEETINGS if person else VERBS))
        verb = len(words) - 1
        pairs["subject"].append((subject, verb))
        pairs["object"].append((noun(ANIMATE if person else THINGS, ADJECTIVES if person else QUALITIES), verb))
        if rng.random() < 0.7:
            words.append(rng.choice(PREPOSITIONS))
            preposition = len(words) - 1
            pairs["preposition"].append((noun(PLACES, QUALITIES), preposition))

    clause()
    words.extend((",", rng.choice(LINKS)))
    clause()
    words.append(".")
    agreeing = ["an" if word == "a" and words[i + 1][0] in "aeiou" else word for i, word in enumerate(words[:-1])]
    return Sentence((*agreeing, "."), {name: tuple(found) for name, found in pairs.items()})
