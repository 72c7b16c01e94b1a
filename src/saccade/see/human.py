"""[55, 117] How far attention agrees with what people looked at."""

from __future__ import annotations

import csv
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


def trivial(length: int, previous: int = 1) -> Tensor:
    """Patterns of attention that need no reading ``[3, N, N]``: the first token, the token before, the token itself.

    Paper 117 regresses attention on such patterns; what they leave is the effective attention, see :func:`effective`.
    """
    first = torch.zeros(length, length)
    first[:, 0] = 1
    before = torch.diag(torch.ones(length - previous), -previous)
    return torch.stack([first, before, torch.eye(length)])


def effective(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Attention ``[..., N, N]`` without what trivial patterns explain, and the share that they do ``[...]``.

    Least squares over the lower triangle; shares are of variance.

    Example:
        >>> rest, share = effective(torch.eye(6))
        >>> round(float(share), 4)
        1.0
    """
    length = weights.shape[-1]
    lower = torch.ones(length, length, dtype=torch.bool).tril()
    patterns = torch.cat([trivial(length), torch.ones(1, length, length)])[:, lower].double()
    flat = weights.double()[..., lower]
    fit = torch.linalg.lstsq(patterns.T, flat.reshape(-1, flat.shape[-1]).T).solution.T @ patterns
    rest = flat - fit.view(flat.shape)
    centred = flat - flat.mean(-1, keepdim=True)
    share = 1 - rest.square().sum(-1) / centred.square().sum(-1).clamp_min(1e-30)
    out = torch.zeros(weights.shape, dtype=torch.float64)
    out[..., lower] = rest
    return out, share


def _auc(scores: Array, marked: NDArray[np.bool_]) -> float:
    """Probability that a marked token is scored above one that is not, ties half."""
    if not marked.any() or marked.all():
        return float("nan")
    high, low = scores[marked][:, None], scores[~marked][None]
    return float((high > low).mean() + 0.5 * (high == low).mean())
