"""[190] Found in the middle: attention without the bias of places."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import saccade as sc
from saccade import zoo
from saccade.order import FoundInTheMiddle
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.repro.statistics import Units

from .reading import batches, questions, right

DOCUMENTS = 20
PLACES = (1, 10, 18)
"""Where the answer stands, each question asked once with each."""
TEMPERATURES = (5e-5, 2e-4, 8e-4)
BAR, FLATTER, SPARED = 0.1, 0.05, -0.02
DUMMY = "the plant of the land is the plant. the tool of the land is the tool. the dish of the land is the dish."


def worst(units: Units) -> tuple[float, float, float]:
    """Accuracy at the place where it is least, without and with the method, and the gain."""
    plain, calibrated = _by_place(units)
    return plain.min(), calibrated.min(), calibrated.min() - plain.min()


def spread(units: Units) -> tuple[float, float, float]:
    """Accuracy at the best place minus that at the worst, without and with the method, and how much it shrinks."""
    plain, calibrated = (float(np.ptp(each)) for each in _by_place(units))
    return plain, calibrated, plain - calibrated


def average(units: Units) -> tuple[float, float, float]:
    """Mean accuracy over the places, without and with the method, and the gain."""
    plain, calibrated = (float(each.mean()) for each in _by_place(units))
    return plain, calibrated, calibrated - plain


def _by_place(units: Units) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    means = units.mean(0)
    return means[: len(PLACES)], means[len(PLACES) :]


@claim(
    190,
    "dealing the attention on documents by what a dummy at the same place does not get raises accuracy at the worst "
    "place of the answer and flattens its dependence on the place",
    uses=("saccade.order", "saccade.repro.claims.steer.reading", "zoo:reader"),
)
def run(quick: bool, seed: int) -> Result:
    """On the model `reader`; a unit is a question, asked with the answer at three places.

    The temperature and the bias of each place come from other questions. The number of documents and the places were
    settled on with seed 0: with 26 documents the gain, 0.03 to 0.18, did not clear the bar. What is published was
    measured with seeds 1 and 2.
    """
    count, tuning, calibration = (30, 2, 1) if quick else (60, 12, 3)
    with sc.attach(*zoo.load("reader")) as lm:
        method = FoundInTheMiddle(DUMMY)
        others = [each.passages() for each in questions(calibration, DOCUMENTS, 19_300 + seed)]
        bias = method.bias(lm, others).mean(0)
        held = Trial(lm, method, bias, tuning, 19_400 + seed)
        scores = {t: float(held.answers(t).mean()) for t in TEMPERATURES}
        best = max(scores, key=scores.__getitem__)
        fresh = Trial(lm, method, bias, count, 19_500 + seed)
        units = np.concatenate([fresh.answers(None), fresh.answers(best)], 1)
    return Result(
        Comparison("accuracy at the worst of three places", units, BAR, worst),
        (
            Comparison("accuracy at the best place minus that at the worst", units, FLATTER, spread),
            Comparison("mean accuracy over the places", units, SPARED, average),
        ),
        {
            "temperature": best,
            "held-out accuracy by temperature": scores,
            "places": PLACES,
            "accuracy by place, plain then calibrated": units.mean(0).round(3).tolist(),
            "most relevant document is the right one": fresh.found,
        },
    )


class Trial:
    """Questions with the answer at each place, and the relevance of their documents."""

    def __init__(self, lm: Any, method: FoundInTheMiddle, bias: torch.Tensor, count: int, seed: int) -> None:
        self.lm, self.method = lm, method
        self.asked = questions(count, DOCUMENTS, seed)
        self.batches = {at: batches([each.passages(at) for each in self.asked]) for at in PLACES}
        self.relevance = {at: [method.relevance(lm, part, bias) for part in self.batches[at]] for at in PLACES}

    @property
    def found(self) -> list[float]:
        """How often the answer's document is the most relevant one, by place."""
        return [float((torch.cat(self.relevance[at]).argmax(1) == at).double().mean()) for at in PLACES]

    def answers(self, temperature: float | None) -> NDArray[np.float64]:
        """Which answers are right, ``[questions, places]``; without the method where the temperature is None."""
        return np.stack([self._at(place, temperature) for place in PLACES], 1)

    def _at(self, place: int, temperature: float | None) -> NDArray[np.float64]:
        columns = []
        parts = zip(batches(self.asked), self.batches[place], self.relevance[place], strict=True)
        for asked, batch, relevance in parts:
            if temperature is None:
                columns.append(right(self.lm, asked, batch))
                continue
            with self.lm.steer(replace(self.method, temperature=temperature).edit(relevance)):
                columns.append(right(self.lm, asked, batch))
        return np.concatenate(columns)
