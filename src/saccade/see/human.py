"""[55, 117] How far attention agrees with what people looked at."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.core.errors import MeasureError

from .agreement import kendall_tau, spearman_rho

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Agreement of scores with human attention, by sample ``[B]``.

    Attributes:
        spearman, kendall: rank correlations.
        auc: area under the ROC curve of the tokens that people marked (whose human score is above the sample's mean,
            or is 1 where scores are marks); NaN where all or none are.
        overlap: share of the k most attended tokens in common, k the number of marked ones.
    """

    spearman: Array
    kendall: Array
    auc: Array
    overlap: Array


def alignment(scores: Tensor, human: Tensor, real: Tensor | None = None) -> Alignment:
    """Compare scores of tokens with human attention to the same tokens, both ``[B, N]``.

    Args:
        scores: an explanation.
        human: marks (0 or 1), or looking times, of any scale.
        real: tokens that count.

    Source: papers 55 (marked words) and 117 (eye movements). Both warn that likeness to people says nothing of how good
    a model is.

    Example:
        >>> found = alignment(torch.tensor([[0.1, 0.7, 0.9, 0.0]]), torch.tensor([[0, 1, 1, 0]]))
        >>> found.auc.tolist(), found.overlap.tolist()
        ([1.0], [1.0])
    """
    if scores.shape != human.shape or scores.dim() != 2:
        raise MeasureError(f"scores and human attention are [B, N]; found {list(scores.shape)}, {list(human.shape)}.")
    keep = torch.ones(scores.shape, dtype=torch.bool) if real is None else real.cpu().bool()
    rows = []
    for sample in range(len(scores)):
        a = scores[sample].detach().cpu()[keep[sample]].double().numpy()
        b = human[sample].cpu()[keep[sample]].double().numpy()
        marked = b > b.mean()
        count = int(marked.sum())
        both = np.isin(np.argsort(-a, kind="stable")[:count], np.nonzero(marked)[0]).sum()
        rows.append((spearman_rho(a, b), kendall_tau(a, b), _auc(a, marked), both / count if count else np.nan))
    return Alignment(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))


def read_human(
    path: str | Path, words: str = "word", scores: str = "score", text: str = "text"
) -> dict[str, list[float]]:
    """Human attention from a CSV file with a row for each word, in order: text, word, score.

    Returns:
        Scores by text.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {words, scores, text} - set(reader.fieldnames or ())
        if missing:
            raise MeasureError(f"{path} lacks the columns {sorted(missing)}; it has {reader.fieldnames}.")
        found: dict[str, list[float]] = {}
        for row in reader:
            found.setdefault(row[text], []).append(float(row[scores]))
    return found


def trivial(length: int, previous: int = 1, causal: bool = True, delimiters: Tensor | None = None) -> Tensor:
    """Patterns of attention that need no reading ``[P, N, N]``: the first token, the token before, the token itself.

    Paper 117 regresses attention on such patterns; what they leave is the effective attention, see :func:`effective`.

    Args:
        length: N.
        previous: how far the token before is.
        causal: tokens see none after them; else there are also the last token, the token after and nearness,
            1 / (1 + distance).
        delimiters: tokens that part the text, boolean ``[N]``: one more pattern.

    Example:
        >>> trivial(5).shape, trivial(5, causal=False, delimiters=torch.arange(5) == 3).shape
        (torch.Size([3, 5, 5]), torch.Size([7, 5, 5]))
    """
    place = torch.arange(length)
    gap = place[:, None] - place
    found = [(place == 0).expand(length, length), gap == previous, gap == 0]
    if not causal:
        found += [(place == length - 1).expand(length, length), gap == -previous, 1 / (1 + gap.abs())]
    if delimiters is not None:
        found.append(delimiters.cpu().bool().expand(length, length))
    return torch.stack([one.float() for one in found])


def effective(weights: Tensor, patterns: Tensor | None = None, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Attention ``[..., N, N]`` without what trivial patterns explain, and the share that they do ``[...]``.

    Least squares, with a constant, over the entries that can be seen; shares are of variance.

    Args:
        weights: attention, or how often people went from one word to another.
        patterns: ``[P, N, N]``, by default those of :func:`trivial`.
        visible: entries that count ``[N, N]``, by default the lower triangle.

    Example:
        >>> rest, share = effective(torch.eye(6))
        >>> round(float(share), 4)
        1.0
    """
    length = weights.shape[-1]
    seen = torch.ones(length, length, dtype=torch.bool).tril() if visible is None else visible.cpu().bool()
    basis = trivial(length) if patterns is None else patterns.cpu()
    if basis.shape[1:] != (length, length) or seen.shape != (length, length):
        raise MeasureError(
            f"patterns [P, N, N] and visible entries [N, N] are needed for {length} tokens; found "
            f"{list(basis.shape)}, {list(seen.shape)}."
        )
    design = torch.cat([basis, torch.ones(1, length, length)])[:, seen].double()
    flat = weights.detach().cpu().double()[..., seen]
    fit = torch.linalg.lstsq(design.T, flat.reshape(-1, flat.shape[-1]).T, driver="gelsd").solution.T @ design
    rest = flat - fit.view(flat.shape)
    centred = flat - flat.mean(-1, keepdim=True)
    share = 1 - rest.square().sum(-1) / centred.square().sum(-1).clamp_min(1e-30)
    out = torch.zeros(weights.shape, dtype=torch.float64)
    out[..., seen] = rest
    return out, share


def by_word(weights: Tensor, words: Tensor) -> Tensor:
    """Attention among tokens ``[..., N, N]`` as attention among words ``[..., W, W]``.

    Attention to a word is the sum over its tokens, that of a word the mean over them; rows add up to at most 1.

    Args:
        weights: attention.
        words: the word of each token, integers ``[N]``; -1 for tokens of none. Words are taken in rising order.

    Example:
        >>> by_word(torch.eye(4), torch.tensor([-1, 0, 0, 3]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    names = words[words >= 0].unique()
    member = (words == names[:, None]).to(weights)
    found: Tensor = (member / member.sum(-1, keepdim=True)) @ weights @ member.T
    return found


@dataclass(frozen=True, eq=False)
class Reader:
    """How the heads' attention foretells human attention: one coefficient a head ``[H]``, see :class:`Resemblance`."""

    coefficients: Tensor

    def score(self, heads: Sequence[Tensor], human: Sequence[Tensor]) -> Array:
        """Share of the variance of human attention that is foretold, for each text; below 0 if worse than its mean."""
        found = []
        for x, y in zip(heads, human, strict=True):
            wanted = _centred(y)
            missed = wanted - self.coefficients @ _centred(x)
            found.append(1 - float(missed.square().sum() / wanted.square().sum()))
        return np.array(found, dtype=np.float64)


@dataclass(frozen=True)
class Resemblance:
    """Linear regression of human attention on the attention of a model's heads, both centred within each text.

    Fit on some texts and score on others. Attention and people share trivial patterns, so that resemblance says little
    unless both are given without them, by :func:`effective`.

    Attributes:
        ridge: penalty, as a share of the mean variance of a head.

    Source: paper 117, human resemblance; that it is scored on other texts, and on effective attention, is added here.

    Example:
        >>> heads = [torch.rand(3, 50) for _ in range(2)]
        >>> human = [one[0] + 2 * one[2] for one in heads]
        >>> Resemblance().fit(heads, human).score(heads, human).round(2).tolist()
        [1.0, 1.0]
    """

    ridge: float = 1e-3

    def fit(self, heads: Sequence[Tensor], human: Sequence[Tensor]) -> Reader:
        """From the same entries of heads ``[H, E]`` and of human attention ``[E]``, for each text."""
        for x, y in zip(heads, human, strict=True):
            if x.dim() != 2 or x.shape[1:] != y.shape:
                raise MeasureError(
                    f"a text has heads [H, E] and human attention [E]; {list(x.shape)}, {list(y.shape)}."
                )
        x = torch.cat([_centred(one) for one in heads], 1)
        y = torch.cat([_centred(one) for one in human])
        gram = x @ x.T
        penalty = self.ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        return Reader(torch.linalg.solve(gram + penalty, x @ y))


def _centred(values: Tensor) -> Tensor:
    values = values.detach().cpu().double()
    return values - values.mean(-1, keepdim=True)


def _auc(scores: Array, marked: NDArray[np.bool_]) -> float:
    """Probability that a marked token is scored above one that is not, ties half."""
    if not marked.any() or marked.all():
        return float("nan")
    high, low = scores[marked][:, None], scores[~marked][None]
    return float((high > low).mean() + 0.5 * (high == low).mean())
