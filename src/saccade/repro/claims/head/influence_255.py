"""[255] AttentionInfluence: what a document loses without retrieval heads tells whether it needs its context."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

import saccade as sc
from saccade import zoo
from saccade.heads import HeadSet, find
from saccade.heads.influence import AttentionInfluence, text_loss
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units
from saccade.tasks import world

from .shared import BATCH, examples, written

MASKED, QUESTIONS, FACTS = 0.15, 3, 6
BAR, TIMES, MORE = 0.75, 2.0, 0.1


def auroc(scores: Units, needs: Units) -> float:
    """Chance that a document that needs its context scores above one that does not."""
    ranks, there = rankdata(scores), needs > 0
    count = there.sum()
    return float((ranks[there].sum() - count * (count + 1) / 2) / (count * (~there).sum()))


def told(units: Units) -> tuple[float, float, float]:
    """AUROC of the baseline (column 0), of the method (column 1), and the latter again; column 2 has the labels."""
    baseline, method = (auroc(units[:, column], units[:, 2]) for column in (0, 1))
    return baseline, method, method


def contrast(units: Units) -> tuple[float, float, float]:
    """Mean influence on documents that need their context minus that on others, of both columns, and their ratio."""
    there = units[:, 2] > 0
    baseline, method = (units[there, column].mean() - units[~there, column].mean() for column in (0, 1))
    return float(baseline), float(method), float(method / max(baseline, 1e-9))


def better(units: Units) -> tuple[float, float, float]:
    """The same, and their difference."""
    baseline, method, _ = told(units)
    return baseline, method, method - baseline


def pool(seed: int, count: int) -> list[list[dict[str, str]]]:
    """Conversations about documents of facts, in turn with answers from the document and with facts known by heart."""
    found = []
    for number in range(count):
        reading = world.Context(facts=FACTS, questions=QUESTIONS, seed=seed)
        [document] = reading.example(number).texts("document")
        own = [(turn.role, turn.content) for turn in reading.conversation(number)]
        known = [
            (turn.role, turn.content) for turn in world.Memory(questions=QUESTIONS, seed=seed).conversation(number)
        ]
        known[0] = ("user", f"{document} {known[0][1]}")
        found += [[{"role": role, "content": text} for role, text in turns] for turns in (own, known)]
    return found


@claim(
    255,
    "the relative rise of a document's loss without the 15 % of heads with the highest retrieval score tells documents "
    "whose questions need them from others with an AUROC of 0.75, 10 points above "
    "the loss itself; the rise is twice that without random heads of the same layers",
    uses=("saccade.heads.influence", "saccade.heads", "saccade.repro.claims.head.shared", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a document of six facts and three answered questions, half of the time about the
    document and half of the time about facts known by heart. Heads are found on other documents.

    The paper trains a model on the documents so chosen; here it is known which need their context, and nothing is
    trained. That the two kinds have the same documents matters: beside texts of other kinds, which are less surprising,
    the loss itself tells a document of facts. Random heads rank nearly as well (see the details), since any head that
    is gone costs such documents something; what tells retrieval heads apart is how much.
    """
    choosing, measuring = (25, 20) if quick else (40, 50)
    with sc.attach(*zoo.load("reader")) as lm:
        found = find(lm, "retrieval", examples(lm, world.Context(difficulty=1, seed=10_000 + seed), choosing, "value"))
        heads = found.top(MASKED)
        like = HeadSet.random(found, heads, seed, by_layer=True)
        texts = pool(20_000 + seed, measuring)
        prompts = [lm.prompt(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        loss = np.concatenate([text_loss(lm, prompt).double().numpy() for prompt in prompts])
        ours, random = (AttentionInfluence(some).scores(lm, prompts).double().numpy() for some in (heads, like))
    needs = np.array([1.0, 0.0] * measuring)
    return Result(
        Comparison(
            "AUROC of documents that need their context: the loss, and its rise without retrieval heads",
            np.stack([loss, ours, needs], 1),
            BAR,
            told,
        ),
        (
            Comparison(
                "influence on documents that need their context beyond that on others: random heads, retrieval heads",
                np.stack([random, ours, needs], 1),
                TIMES,
                contrast,
            ),
            Comparison("the same, more than the loss itself", np.stack([loss, ours, needs], 1), MORE, better),
        ),
        {
            "heads": written(found),
            "masked": [str(head) for head in heads],
            "AUROC of random heads": auroc(random, needs),
        },
    )
