"""[137] Dodrio: an overview of heads beside labels of tokens leads to the heads that follow syntax."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from saccade.repro.claims.meas.encoder import encoder
from saccade.repro.claims.meas.english import Sentence, prompt, sentences
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.see import trace
from saccade.viewer import capture, pack, unpack
from saccade.viewer.labels import label_measures, label_spans

RELATIONS = ("object", "subject", "preposition")
"""Relations whose two words stand at varying distances."""
SAME = "same label"
SHUFFLES = 4
BAR_SHUFFLED, BAR_POSITION, BAR_MEAN = 0.1, 0.05, 0.1


@claim(
    137,
    "the overview of a real encoder's heads beside labels of syntax leads to heads that put at least 10 points more "
    "mass on the other word of a relation than on words labelled at random, and at least 5 more than a head with the "
    "same habit of position would",
    uses=("saccade.viewer.labels", "saccade.viewer.capture"),
)
def run(quick: bool, seed: int) -> Result:
    """Real encoder, sentences of a small grammar, a unit each; mean over three relations. Heads are chosen on others.

    Both words of a relation (object and verb, subject and verb, preposition and its object) have a label of their own;
    the measure is the viewer's ``same label``: the mass that labelled tokens put on tokens of their label. The head
    with the largest margin over shuffled labels on the choosing sentences is the one that the overview leads to. What a
    token puts on itself counts in every column, so margins are about the other word.

    Shuffled: the same labels on random words of the sentence. Position: the head's mean weights by offset on the
    choosing sentences, renormalised in each row. The paper shows case studies; these bars are ours.
    """
    choosing, measuring = (8, 28) if quick else (40, 80)
    lm = encoder()
    before, after = (read(lm, *one) for one in ((choosing, 13_700 + seed), (measuring, 23_700 + seed)))
    columns: dict[str, list[Any]] = {"shuffled": [], "position": [], "mean head": [], "head": []}
    chosen = {}
    for relation in RELATIONS:
        margin = np.mean([one.shown(relation) - one.shuffled(relation, seed) for one in before], 0)
        layer, head = (int(place) for place in np.unravel_index(int(margin.argmax()), margin.shape))
        habit = offsets([one.weights[layer, head] for one in before])
        shown = [one.shown(relation) for one in after]
        columns["head"].append([one[layer, head] for one in shown])
        columns["mean head"].append([one.mean() for one in shown])
        columns["shuffled"].append([one.shuffled(relation, seed)[layer, head] for one in after])
        columns["position"].append([one.by_position(relation, habit) for one in after])
        means = {name: round(float(np.mean(values[-1])), 3) for name, values in columns.items()}
        chosen[relation] = {"chosen": f"L{layer}H{head}", **means}
    units = {name: np.mean(values, 0) for name, values in columns.items()}

    def compare(name: str, bar: float) -> Comparison:
        return Comparison(
            f"mass on the own label: {name} against the head", np.stack([units[name], units["head"]], 1), bar
        )

    return Result(
        compare("shuffled", BAR_SHUFFLED),
        (compare("position", BAR_POSITION), compare("mean head", BAR_MEAN)),
        {"relations": chosen},
    )


class Read:
    """One sentence as the encoder reads it.

    Attributes:
        weights: of all heads ``[L, H, N, N]``.
    """

    def __init__(self, lm: Any, sentence: Sentence) -> None:
        self.lm, self.sentence = lm, sentence
        self.prompt, words = prompt(lm, [sentence])
        self.words: list[int] = words[0].tolist()
        steps = trace(lm, self.prompt).steps
        self.weights = np.stack([step.rows(range(len(self.words)))[0].double().numpy() for step in steps])

    def labels(self, relation: str) -> list[str]:
        """The label of each token: the pair of a relation that its word belongs to."""
        pairs = self.sentence.pairs[relation]
        label = {word: f"{relation} {number}" for number, pair in enumerate(pairs) for word in pair}
        return [label.get(word, "") for word in self.words]

    def shown(self, relation: str) -> Any:
        """Mass on the own label of every head ``[L, H]``, as the overview gets it."""
        return unpack(pack(capture(self.lm, self.prompt, labels=self.labels(relation)))).measures[SAME]

    def shuffled(self, relation: str, seed: int) -> Any:
        """The same with the labels on random inner tokens, mean over draws."""
        rng = random.Random(f"{seed}/{self.prompt.text}")
        inner = self.labels(relation)[1:-1]
        return np.mean([on_own(self.weights, ["", *rng.sample(inner, len(inner)), ""]) for _ in range(SHUFFLES)], 0)

    def by_position(self, relation: str, habit: dict[int, float]) -> float:
        """The same of a head whose weights depend on the offset alone."""
        places = range(len(self.words))
        weights = np.array([[habit.get(key - query, 0.0) for key in places] for query in places])
        return float(on_own(weights / weights.sum(-1, keepdims=True), self.labels(relation)))


def read(lm: Any, count: int, seed: int) -> list[Read]:
    """So many sentences that have all relations."""
    drawn = [one for one in sentences(2 * count, seed) if all(one.pairs[relation] for relation in RELATIONS)]
    return [Read(lm, one) for one in drawn[:count]]


def on_own(weights: Any, labels: list[str]) -> Any:
    """Mean mass ``[..]`` of labelled rows on their own label, from weights ``[.., N, N]``."""
    spans = label_spans(labels, len(labels))
    mass = weights @ np.stack([spans[name][0].numpy() for name in spans.names], 1).astype(np.float64)
    return label_measures(mass, spans.names, labels)[SAME]


def offsets(weights: list[Any]) -> dict[int, float]:
    """Mean weight by offset from the query, over the inner rows of some sentences."""
    found: dict[int, list[float]] = {}
    for one in weights:
        length = len(one)
        for offset in range(2 - length, length - 1):
            inner = range(max(1, -offset), min(length - 1, length - offset))
            found.setdefault(offset, []).extend(one[query, query + offset] for query in inner)
    return {offset: float(np.mean(values)) for offset, values in found.items() if values}
