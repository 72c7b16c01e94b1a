"""Typoglycemia: words whose inner letters are out of order."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from saccade.tasks.algorithmic.symbols import ChoiceTask
from saccade.tasks.example import Example, Script, TaskError
from saccade.tasks.task import register

SENTENCES = {
    "hammer": "the carpenter struck the nail with a {}", "butter": "she spread {} on the warm bread",
    "winter": "snow falls in {} and the lake freezes", "doctor": "the {} listened to the patient's heart",
    "garden": "roses and beans grow in the {}", "window": "he opened the {} to let in fresh air",
    "teacher": "the {} wrote the sum on the blackboard", "kitchen": "the cook washed the pots in the {}",
    "blanket": "she pulled the woollen {} over her shoulders", "captain": "the {} steered the ship into the harbour",
    "library": "they borrowed three books from the {}", "thunder": "lightning flashed and {} rolled",
    "mountain": "the climbers reached the top of the {}", "umbrella": "it rained, so he put up his {}",
    "elephant": "the {} raised its trunk and trumpeted", "sandwich": "he ate a cheese {} at noon",
    "telescope": "the astronomer turned her {} towards Saturn", "chocolate": "the cake was covered with dark {}",
    "passenger": "every {} showed a ticket to the guard", "newspaper": "grandfather read the {} at breakfast",
    "strawberry": "the jam was made of {} and sugar", "bookkeeper": "the {} entered the sums in the ledger",
    "orchestra": "the {} tuned its violins before the concert", "carpenter": "the {} planed the oak door",
}  # fmt: skip


@register
@dataclass(frozen=True, kw_only=True)
class Typoglycemia(ChoiceTask):
    """A sentence with one scrambled word; answer the word meant [105].

    The first and last letter stay. `share` of the inner letters change places (default by difficulty: 0.2 to 1). With
    `context=False` the sentence says nothing: only the form of the word is left. Spans `scrambled` and `context` (the
    rest of the sentence).
    """

    name: ClassVar[str] = "algorithmic/typoglycemia"
    papers: ClassVar[tuple[int, ...]] = (105,)

    share: float | None = None
    context: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share is not None and not 0 < self.share <= 1:
            raise TaskError(f"share must lie in (0, 1], found {self.share}")

    def scramble(self, rng: random.Random, word: str) -> str:
        share = self.difficulty / 5 if self.share is None else self.share
        inner = range(1, len(word) - 1)
        moved = sorted(rng.sample(inner, max(2, round(share * len(inner)))))
        letters = list(word)
        while "".join(letters) == word:
            drawn = rng.sample(moved, len(moved))
            for to, source in zip(moved, drawn, strict=True):
                letters[to] = word[source]
            if len({word[i] for i in moved}) == 1:
                moved = list(inner)
        return "".join(letters)

    def build(self, rng: random.Random) -> Example:
        word = rng.choice(sorted(SENTENCES))
        shown = self.scramble(rng, word)
        left, right = (SENTENCES[word] if self.context else "here stands the word {}").split("{}")
        script = Script()
        if left:
            script.write("text", left.strip(), "context")
        script.write("text", shown, "scrambled")
        if right:
            script.write("text", right.strip(), "context")
        script.write("text", f". which word is meant by {shown}?", "question")
        return script.plain(word, choices=tuple(sorted(SENTENCES)), shown=shown)

    @property
    def chance(self) -> float:
        return 1 / len(SENTENCES)
