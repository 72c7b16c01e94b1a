"""The demonstration: a pretrained sentence encoder is told which clause of a review matters.

The review is about four things. Emphasising one of its clauses (attention on the clause times ``STRENGTH``, in the last
layer, whose outputs are pooled to the embedding) should move the embedding towards the query that means this clause.
Nothing of the model is changed. The layer was chosen on the reviews in ``REVIEWS``; those in ``FRESH`` were written
after that, and say how far it goes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

import saccade as sc
from saccade.core.sites import At
from saccade.prompt import Prompt
from saccade.reviews import FRESH, REVIEWS, Review

STRENGTH = 3.0
BATCH, LENGTH, REPEATS = 4, 256, 5


@dataclass(frozen=True)
class Table:
    """Similarities of one review with its queries.

    Attributes:
        review: the review.
        before: cosine similarity with each query, ``[4]``.
        after: row i has clause i emphasised, ``[4][4]``.
        masses: per clause the mean attention mass on it before and after, over the edited sites.
    """

    review: Review
    before: tuple[float, ...]
    after: tuple[tuple[float, ...], ...]
    masses: tuple[tuple[float, float], ...]

    @property
    def rises(self) -> tuple[float, ...]:
        """Change of the similarity with the clause's own query, clause by clause."""
        return tuple(row[i] - self.before[i] for i, row in enumerate(self.after))

    @property
    def risen(self) -> int:
        """Clauses whose own query came nearer."""
        return sum(rise > 0 for rise in self.rises)


@dataclass(frozen=True)
class Cost:
    """Seconds of one forward pass, medians over interleaved repeats.

    Attributes:
        what: the input.
        plain: with no context open, which is the model's own path.
        steered: with one clause scaled at every site.
        watched: with the masses on four clauses and the entropy of every row read at every site.
    """

    what: str
    plain: float
    steered: float
    watched: float


@dataclass(frozen=True)
class Report:
    """What the demonstration found.

    Attributes:
        main: the first review, last layer.
        others: the other reviews that the layer was chosen on, last layer.
        fresh: the reviews written after that, last layer.
        everywhere: the fresh reviews, the same edit in every layer.
        pooled: rises of the first review's clauses when the whole runs through ``SentenceTransformer``; None where
            that is not installed.
        plans: what the engine does, in words, for one clause scaled and the masses on four, on the review and on a
            longer text.
        costs: timings.
    """

    main: Table
    others: tuple[Table, ...]
    fresh: tuple[Table, ...]
    everywhere: tuple[Table, ...]
    pooled: tuple[float, ...] | None
    plans: tuple[str, ...]
    costs: tuple[Cost, ...]

    @property
    def holds(self) -> bool:
        """Whether each clause of the first review came nearer to its own query, both ways of running it."""
        return all(rise > 0 for rise in (*self.main.rises, *(self.pooled or ())))


def run(lm: Any, *, timings: bool = True, step: Callable[[str], None] = lambda _: None) -> Report:
    """Run the demonstration.

    Args:
        lm: an attached sentence encoder with mean pooling, such as all-MiniLM-L6-v2.
        timings: measure the cost as well, which takes most of the time.
        step: told before each part what comes.
    """
    last = lm.sites[-1].name
    step("emphasising each clause")
    tables = [similarities(lm, review, at=last) for review in REVIEWS]
    step("the same for fresh reviews, in the last layer and in every layer")
    fresh = tuple(similarities(lm, review, at=last) for review in FRESH)
    everywhere = tuple(similarities(lm, review) for review in FRESH)
    step("through SentenceTransformer")
    pooled = through_sentence_transformers(lm.model.name_or_path, REVIEWS[0])
    step("measuring the cost")
    costs = (cost(lm, 1), cost(lm, BATCH, LENGTH)) if timings else ()
    clauses = tuple(REVIEWS[0].clauses)
    edits, measures = [sc.Scale(clauses[0], STRENGTH, at=last)], [sc.Mass(clauses)]
    lengths = (lm.prompt(REVIEWS[0].text).input_ids.shape[1], LENGTH)
    plans = tuple(str(lm.plan(edits=edits, measures=measures, length=length)) for length in lengths)
    return Report(tables[0], tuple(tables[1:]), fresh, everywhere, pooled, plans, costs)


def embed(lm: Any, prompt: Prompt) -> Tensor:
    """Unit embeddings ``[B, dim]``: the mean of the last hidden states of real tokens."""
    with torch.no_grad():
        states = lm(prompt).last_hidden_state.float()
    real = prompt.attention_mask.unsqueeze(-1).to(states)
    return normalize((states * real).sum(1) / real.sum(1), dim=-1)


def similarities(lm: Any, review: Review, at: At = None, strength: float = STRENGTH) -> Table:
    """Emphasise each clause in turn and compare with every query."""
    queries = embed(lm, lm.prompt(list(review.queries)))
    prompt = lm.prompt(review.text, spans=review.clauses)
    before = (embed(lm, prompt) @ queries.T)[0]
    after, masses = [], []
    for name in review.clauses:
        with lm.steer(sc.Scale(name, strength, at=at)) as effect:
            after.append(tuple((embed(lm, prompt) @ queries.T)[0].tolist()))
        masses.append((effect[0].before or 0.0, effect[0].after or 0.0))
    return Table(review, tuple(before.tolist()), tuple(after), tuple(masses))


def through_sentence_transformers(path: str, review: Review) -> tuple[float, ...] | None:
    """Rises of each clause's own query with ``SentenceTransformer.encode``; None if it is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return None
    encoder = SentenceTransformer(path, device="cpu")
    rises = []
    lm: Any = sc.attach(encoder[0], encoder.tokenizer)
    with lm:
        spans = lm.prompt(review.text, spans=review.clauses).spans
        queries = encoder.encode(list(review.queries), normalize_embeddings=True, show_progress_bar=False)
        before = queries @ encoder.encode(review.text, normalize_embeddings=True, show_progress_bar=False)
        last = lm.sites[-1].name
        for i, name in enumerate(review.clauses):
            with lm.steer(sc.Scale(name, STRENGTH, at=last), spans=spans):
                after = queries @ encoder.encode(review.text, normalize_embeddings=True, show_progress_bar=False)
            rises.append(float(after[i] - before[i]))
    return tuple(rises)


def cost(lm: Any, batch: int, length: int | None = None) -> Cost:
    """Time the model plain, steered and watched on the first review, repeated up to ``length`` tokens."""
    review = REVIEWS[0]
    inputs, spans = _inputs(lm, review, batch, length)
    name = next(iter(review.clauses))
    mass = sc.Mass(tuple(review.clauses))

    def plain() -> None:
        lm.model(**inputs)

    def steered() -> None:
        with lm.steer(sc.Scale(name, STRENGTH), spans=spans):
            lm.model(**inputs)

    def watched() -> None:
        with lm.watch(mass, sc.Entropy(), spans=spans):
            lm.model(**inputs)

    with torch.no_grad():
        seconds = medians((plain, steered, watched), REPEATS)
    shape = f"{batch} x {inputs['input_ids'].shape[1]} tokens"
    return Cost(shape, *seconds)


def _inputs(lm: Any, review: Review, batch: int, length: int | None) -> tuple[dict[str, Tensor], sc.Spans]:
    """The review ``batch`` times, repeated up to ``length`` tokens, with its clauses as spans."""
    prompt = lm.prompt([review.text] * batch, spans=review.clauses)
    length = length or prompt.input_ids.shape[1]
    times = -(-length // prompt.input_ids.shape[1])
    inputs = {name: value.repeat(1, times)[:, :length] for name, value in prompt.inputs.items()}
    return inputs, sc.Spans({name: prompt.spans[name].repeat(1, times)[:, :length] for name in review.clauses})


def medians(calls: Sequence[Callable[[], None]], repeats: int) -> list[float]:
    """Median seconds of each call; the calls take turns, after one warm-up."""
    taken: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            if turn:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]
