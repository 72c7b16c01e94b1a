"""The catalogue of papers; nothing is read before it is asked for."""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from saccade.core.errors import SaccadeError

STATUSES = ("works", "partial", "planned", "out of scope")

FAMILIES = {
    "CORE": "exact attention engines",
    "DIST": "attention over several devices",
    "MEAS": "measuring and explaining attention",
    "VIEW": "looking at attention",
    "HEAD": "heads: finding, ablating, pruning, tuning",
    "STEER": "steering language models at inference",
    "DECODE": "decoding driven by attention",
    "DET": "detectors that read attention",
    "KV": "caches of keys and values",
    "VLM": "vision-language models",
    "DIFF": "diffusion models",
    "TRAIN": "training with attention",
    "TEXT": "prompting",
    "EVAL": "tasks and benchmarks",
    "THEORY": "statements about attention",
    "APP": "applications",
    "MECH.lin": "linear attention",
    "MECH.sparse": "sparse attention",
    "MECH.expr": "more expressive attention",
    "MECH.head": "heads and their sharing",
    "MECH.pos": "positions",
    "MECH.rnn": "recurrent attention",
    "MECH.conv": "convolutions in place of attention",
    "MECH.mem": "memories",
    "MECH.seq": "attention between sequences",
    "MECH.vis": "attention on images",
    "MECH.chan": "attention over channels",
    "MECH.graph": "attention on graphs",
    "MECH.prob": "attention as a random variable",
    "MECH.mask": "masks with a structure",
    "MECH.cond": "attention conditioned on features",
    "MECH.equi": "equivariant attention",
    "MECH.priv": "private attention",
    "NONE": "papers that do not study attention",
}


class PaperError(SaccadeError, LookupError):
    """A paper, family or status that the catalogue does not have."""


@dataclass(frozen=True)
class Paper:
    """One paper.

    Attributes:
        id: number in the catalogue.
        title: the paper's title.
        family: a key of ``FAMILIES``.
        status: ``works``: its claim ran here and holds; ``partial``: part of it is here, see ``note``; ``planned``;
            ``out of scope``, see ``reason``.
        claim: what is to be shown at our scale, in a sentence; of a paper out of scope, what it says.
        where: module that it lives in, empty where there is none.
        reason: why it is out of scope.
        note: what is missing, or what the claim gave where it did not hold.
    """

    id: int
    title: str
    family: str
    status: str
    claim: str
    where: str = ""
    reason: str = ""
    note: str = ""


class Catalogue:
    """All papers, in the order of their ids.

    Example:
        >>> papers[68].where
        'saccade.mechanisms.expressive.selective'
        >>> [paper.id for paper in papers.search("split-softmax")]
        [180]
        >>> papers["68"]
        Traceback (most recent call last):
        saccade.repro.catalogue.PaperError: papers are asked for by their number, an int from 0 to 401; found '68'.
    """

    @cached_property
    def _papers(self) -> dict[int, Paper]:
        text = files("saccade.repro").joinpath("papers.toml").read_text("utf-8")
        return {entry["id"]: Paper(**entry) for entry in tomllib.loads(text)["paper"]}

    def __getitem__(self, number: int) -> Paper:
        if number not in self._papers or isinstance(number, bool):
            span = f"an int from {min(self._papers)} to {max(self._papers)}"
            raise PaperError(f"papers are asked for by their number, {span}; found {number!r}.")
        return self._papers[number]

    def __iter__(self) -> Iterator[Paper]:
        return iter(self._papers.values())

    def __len__(self) -> int:
        return len(self._papers)

    def __repr__(self) -> str:
        return f"Catalogue of {len(self)} papers ({', '.join(f'{n} {status}' for status, n in self.counts().items())})"

    def counts(self) -> dict[str, int]:
        """Number of papers of each status."""
        found = Counter(paper.status for paper in self)
        return {status: found[status] for status in STATUSES}

    def search(self, query: str = "", status: str | None = None, family: str | None = None) -> tuple[Paper, ...]:
        """Papers whose id is the query, or whose text has all of its words, in any case.

        Args:
            query: a number, or words of title, claim, note and module; empty for all.
            status: one of ``STATUSES``.
            family: a key of ``FAMILIES``; ``"MECH"`` stands for all that begin with it.

        Raises:
            PaperError: no such status or family.
        """
        if status is not None and status not in STATUSES:
            raise PaperError(f"the statuses are {', '.join(map(repr, STATUSES))}; found {status!r}.")
        families = _families(family)
        words = query.casefold().split()
        return tuple(
            paper
            for paper in self
            if (status is None or paper.status == status) and paper.family in families and _matches(paper, query, words)
        )


def _families(family: str | None) -> frozenset[str]:
    if family is None:
        return frozenset(FAMILIES)
    name = family.casefold()
    found = frozenset(key for key in FAMILIES if key.casefold() == name or key.casefold().startswith(f"{name}."))
    if not found:
        close = difflib.get_close_matches(family, FAMILIES, n=3, cutoff=0.4) or list(FAMILIES)
        raise PaperError(f"no family is called {family!r}; perhaps {', '.join(close)}.")
    return found


def _matches(paper: Paper, query: str, words: list[str]) -> bool:
    if query.strip().isdecimal():
        return paper.id == int(query)
    text = f"{paper.title} {paper.claim} {paper.note} {paper.where}".casefold()
    return all(word in text for word in words)


papers = Catalogue()
