"""[120] AttentionViz: in a joint space of queries and keys, nearness mirrors attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.repro.claims.meas.encoder import encoder
from saccade.repro.claims.meas.english import sentences
from saccade.repro.registry import claim
from saccade.repro.result import Comparison, Result
from saccade.viewer.space import project

TOGETHER = 4
"""Sentences of a text."""
SCALES = torch.logspace(-1.5, 1.5, 25, base=2)
"""Factors of the equal-width scale that are tried for c."""
NEAREST = 0.1
BAR_NEAR, BAR_PLANE, BAR_MIRROR, BAR_SCALE = 0.1, 0.05, 0.2, 0.03


@claim(
    120,
    "in the plane of queries and keys together, once keys are moved to the centre of the queries and both are scaled, "
    "the nearest tenth of the keys gets at least 10 points more attention than a tenth, and 5 more than in the plane "
    "of queries and keys as they are; and the distance mirrors attention better than before that normalisation",
    uses=("saccade.viewer.space",),
)
def run(quick: bool, seed: int) -> Result:
    """Real encoder, all heads; a unit is a text of four sentences. Centres and c of each head come from other texts.

    The plane is that of the viewer (principal components; the paper projects with t-SNE or UMAP). Mirroring is measured
    in the full space: minus Pearson's correlation, over all pairs of a text, of the distance and the log of the weight,
    mean over heads. c is the one of 25 with which it is best on the choosing texts.

    To move all keys changes no weight, but distances lose what all queries have in common: a key that every query
    reads is near all of them as they are, and in the middle of nowhere after the move.
    """
    choosing, measuring = (6, 8) if quick else (40, 60)
    lm = encoder()
    fitted = Joint.fit([heads_of(lm, text) for text in texts(choosing, 22_000 + seed)])
    mirrored: dict[str, list[float]] = {name: [] for name in ("as they are", "moved", "scaled")}
    near: dict[str, list[float]] = {name: [] for name in ("share", "as they are", "normalised")}
    for text in texts(measuring, 22_500 + seed):
        q, k = heads_of(lm, text)
        logs = log_weights(q, k)
        mirrored["as they are"].append(float(mirror(q, k, logs).mean()))
        mirrored["moved"].append(float(mirror(*fitted.of(q, k, scaled=False), logs).mean()))
        mirrored["scaled"].append(float(mirror(*fitted.of(q, k), logs).mean()))
        near["as they are"].append(nearest(*plane(q, k), logs)[1])
        points = torch.from_numpy(project(q, k).points.astype(np.float32))
        share, mass = nearest(points[:, 0], points[:, 1], logs)
        near["share"].append(share)
        near["normalised"].append(mass)
    found = {name: np.array(values) for name, values in mirrored.items()}
    planes = {name: np.array(values) for name, values in near.items()}

    def compare(metric: str, baseline: Any, method: Any, bar: float) -> Comparison:
        return Comparison(metric, np.stack([baseline, method], 1), bar)

    mass_on, what = f"mass on the nearest {NEAREST:.0%} of keys in the plane", "nearness and log weight, correlation"
    return Result(
        compare(f"{mass_on}: their share against it", planes["share"], planes["normalised"], BAR_NEAR),
        (
            compare(
                f"{mass_on}: as they are against normalised", planes["as they are"], planes["normalised"], BAR_PLANE
            ),
            compare(f"{what}: as they are against normalised", found["as they are"], found["scaled"], BAR_MIRROR),
            compare(f"{what}: moved against moved and scaled", found["moved"], found["scaled"], BAR_SCALE),
        ),
        {
            "correlation": {name: round(float(values.mean()), 3) for name, values in found.items()},
            "c, median over heads": round(float(fitted.c.median()), 3),
        },
    )


def texts(count: int, seed: int) -> list[str]:
    """Texts of some sentences each."""
    drawn = [one.text for one in sentences(count * TOGETHER, seed)]
    return [" ".join(drawn[i : i + TOGETHER]) for i in range(0, len(drawn), TOGETHER)]


def heads_of(lm: Any, text: str) -> tuple[Tensor, Tensor]:
    """Queries and keys of all heads ``[L * H, N, D]``."""
    found = []

    def keep(operator: Any, values: Tensor) -> Tensor:
        found.append((operator.call.q[0].float(), operator.call.k[0].float()))
        return values

    with torch.no_grad(), lm.tap(keep):
        lm(lm.prompt(text))
    q, k = (torch.cat(one) for one in zip(*found, strict=True))
    return q, k


def log_weights(q: Tensor, k: Tensor) -> Tensor:
    """Logs of the weights ``[H, N, N]``."""
    logs: Tensor = (q @ k.mT * q.shape[-1] ** -0.5).log_softmax(-1)
    return logs


def mirror(q: Tensor, k: Tensor, logs: Tensor) -> Tensor:
    """Minus Pearson's correlation of distance and log weight over all pairs, by head ``[H]``."""
    far = torch.cdist(q, k).flatten(1)
    both = [x - x.mean(1, keepdim=True) for x in (far, logs.flatten(1))]
    found: Tensor = -(both[0] * both[1]).sum(1) / (both[0].norm(dim=1) * both[1].norm(dim=1)).clamp_min(1e-12)
    return found


def nearest(queries: Tensor, keys: Tensor, logs: Tensor) -> tuple[float, float]:
    """Share of the keys that count as nearest ``[H, N, 2]``, and the mass on them, mean over heads and rows."""
    count = max(1, round(NEAREST * keys.shape[1]))
    closest = torch.cdist(queries, keys).topk(count, largest=False).indices
    return count / keys.shape[1], float(logs.exp().gather(-1, closest).sum(-1).mean())


def plane(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """The first two principal components of queries and keys as they are, ``[H, N, 2]`` each."""
    both = torch.cat([q, k], 1)
    both = both - both.mean(1, keepdim=True)
    axes = torch.linalg.eigh(both.mT @ both).eigenvectors[..., -2:]
    queries, keys = (both @ axes).chunk(2, 1)
    return queries, keys


@dataclass(frozen=True, eq=False)
class Joint:
    r"""The paper's normalisation of each head: :math:`c\,q` and :math:`(k - \bar k + \bar q) / c`.

    Attributes:
        query, key: centres of queries and keys ``[H, 1, D]``.
        c: the c that mirrors best ``[H, 1, 1]``.
    """

    query: Tensor
    key: Tensor
    c: Tensor

    @classmethod
    def fit(cls, data: list[tuple[Tensor, Tensor]]) -> Joint:
        """Centres, and the best c, of some texts."""
        queries, keys = (torch.cat(one, 1) for one in zip(*data, strict=True))
        query, key = queries.mean(1, keepdim=True), keys.mean(1, keepdim=True)
        widths = [(x - x.mean(1, keepdim=True)).square().sum((1, 2)) for x in (queries, keys)]
        width = (widths[1] / widths[0]).pow(0.25)[:, None, None]
        tried = [cls(query, key, width * factor) for factor in SCALES]
        scores = torch.stack(
            [torch.stack([mirror(*one.of(q, k), log_weights(q, k)) for q, k in data]).mean(0) for one in tried]
        )
        return cls(query, key, width * SCALES[scores.argmax(0)][:, None, None])

    def of(self, q: Tensor, k: Tensor, scaled: bool = True) -> tuple[Tensor, Tensor]:
        """Queries and keys in the joint space; the centre of the queries is its origin."""
        c = self.c if scaled else torch.ones_like(self.c)
        return c * (q - self.query), (k - self.key) / c
