"""Retrieval heads: they copy the needle while the model writes it (paper 188)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn.functional import pad

from saccade.core.measures import Rows

from .data import spans_of
from .headset import HeadError, HeadSet
from .reading import Values, layers, ranking
from .scoring import Batch, ids_of

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True)
class Retrieval:
    """The retrieval score: the share of the needle's tokens that a head copies while the model answers.

    At each step of greedy decoding, a head copies a needle token x_j if j is the key with the largest weight of the
    newest row and x_j is the token that the model then writes. With g_h the needle tokens copied and k the needle,

    .. math:: s_h = |g_h ∩ k| / |k|

    averaged over samples. The paper calls heads with 0.1 or more retrieval heads. The data are batches
    ``(prompt, answers)`` whose prompts have the needle as a span.

    Args:
        span: name of the needle's span.
        correct: count only samples that are answered right, as the published code does (there by ROUGE).

    Source: Wu et al., "Retrieval Head Mechanistically Explains Long-Context Factuality" (paper 188), equation 1.
    Differs: decoding stops at the length of the answer.
    """

    span: str = "value"
    correct: bool = True
    name: ClassVar[str] = "retrieval"

    @torch.no_grad()
    def __call__(self, lm: Host, data: Any, *, among: HeadSet | None = None, progress: bool = True) -> HeadSet:
        """Every head of the main stack with its score."""
        return ranking(lm, self.name, (self._read(lm, batch) for batch in data), among)

    def _read(self, lm: Any, batch: Batch) -> Values:
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise HeadError("retrieval reads batches (prompt, answers), for the answers tell how much to write.")
        prompt, answers = batch
        needle = spans_of(prompt, self.span)[self.span]
        wanted = [ids_of(lm, answer) for answer in answers]
        names = layers(lm)
        with lm.watch(Rows((-1,)), sites=list(names)) as seen:
            out = lm.generate(
                prompt,
                max_new_tokens=max(map(len, wanted)),
                do_sample=False,
                num_beams=1,
                return_dict_in_generate=True,
            )
        start = prompt.input_ids.shape[1]
        written = out.sequences[:, start:]
        counted = (
            torch.tensor(
                [row[: len(ids)] == ids or not self.correct for row, ids in zip(written.tolist(), wanted, strict=True)]
            )
            & needle.any(1).cpu()
        )
        member = pad(needle, (0, written.shape[1])).to(written.device)
        return {
            layer: _copied(seen["rows"].site(name), member, out.sequences, written)[counted.to(written.device)]
            for name, layer in names.items()
        }


def _copied(weights: torch.Tensor, member: torch.Tensor, line: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
    """Share of the needle copied: rows of decoding ``[B, H, T, K]``, needle ``[B, K]`` -> ``[B, H]``."""
    best = weights.argmax(-1)
    flat = best.flatten(1)
    right = (member.gather(1, flat) & (line.gather(1, flat) == written[:, None].expand_as(best).flatten(1))).view_as(
        best
    )
    copied = torch.zeros(*best.shape[:2], line.shape[1], device=best.device)
    copied.scatter_reduce_(2, best, right.float(), "amax")
    return copied.sum(-1) / member.sum(-1, keepdim=True).clamp_min(1)
