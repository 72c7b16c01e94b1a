"""[186] Generic relevance of two streams that read each other: co-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

from .relevance import positive
from .trace import Step, Target, trace

if TYPE_CHECKING:
    from saccade.hosts import Host

Pair = tuple[str, str]


@dataclass(frozen=True)
class CoRelevance:
    r"""Which tokens of two streams a prediction rests on, where each stream reads itself and the other.

    :math:`R^{sq}` says how much the tokens of stream s rest on the input tokens of stream q. It begins with
    :math:`R^{ss} = I`, :math:`R^{sq} = 0`, and each call of attention, in the model's order, changes it; with
    :math:`\bar A = \mathrm{mean}_h (\nabla A \odot A)^+`, for self-attention of s

    .. math::
        R^{ss} \leftarrow R^{ss} + \bar A R^{ss}, \qquad R^{sq} \leftarrow R^{sq} + \bar A R^{sq},

    and where s reads q

    .. math::
        R^{sq} \leftarrow R^{sq} + (\bar R^{ss})^\top \bar A\, \bar R^{qq}, \qquad
        R^{ss} \leftarrow R^{ss} + \bar A R^{qs}, \qquad
        \bar R = I + (R - I) / \mathrm{rowsum}(R - I) .

    Calls that follow each other and read in opposite directions are one layer: both see what was before it. Weights
    are seen in row tiles; the four R are kept whole, since :math:`\bar R` of one stream multiplies :math:`\bar A` of
    the other from both sides, so lengths are limited.

    Args:
        streams: from names or globs of sites to (stream that reads, stream that is read); the first that fits counts.
        limit: the most tokens of a stream.

    Source: Chefer, Gur & Wolf, "Generic Attention-model Explainability" (paper 186), equations 5 to 11. A row of
    :math:`R - I` without relevance stays 0 here; the published code divides by 0.

    Example:
        >>> CoRelevance({"text.*.self": ("text", "text"), "text.*.cross": ("text", "image")}).names
        ('text', 'image')
    """

    streams: Mapping[str, Pair] = field(default_factory=dict)
    limit: int = 2048

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= 2:
            raise MeasureError(f"CoRelevance: streams name one or two streams, found {list(self.names) or 'none'}.")

    @property
    def names(self) -> tuple[str, ...]:
        """The streams, in the order in which they are named."""
        return tuple(dict.fromkeys(name for pair in self.streams.values() for name in pair))

    def explain(
        self, lm: Host, prompt: Any = None, *, target: Target, stream: str, token: int = 0, **inputs: Any
    ) -> dict[str, Tensor]:
        """Relevance of the input tokens of both streams ``[B, N]``, by stream.

        Args:
            lm: an attached model.
            prompt: a prompt of ``lm.prompt(...)``.
            target: from the model's output to a number for each sample.
            stream, token: the output token whose rows of R are taken, such as a class token.
            inputs: the model's inputs, instead of a prompt.

        Raises:
            MeasureError: calls of attention that no glob fits, no such stream or token, or too long a stream.
        """
        if stream not in self.names:
            raise MeasureError(f"there is no stream {stream!r}; the streams are {', '.join(self.names)}.")
        whole = self.matrices(trace(lm, prompt, target=target, **inputs).steps)
        length = whole[stream, stream].shape[1]
        if not -length <= token < length:
            raise MeasureError(f"the stream {stream!r} has {length} tokens; found token {token}.")
        return {name: whole[stream, name][:, token] for name in self.names}

    def matrices(self, steps: Sequence[Step]) -> dict[Pair, Tensor]:
        """All R ``[B, N_s, N_q]``, by the streams that read and are read."""
        pairs = [self._pair(step) for step in steps]
        whole = self._start(steps, pairs)
        at = 0
        while at < len(steps):
            both = at + 1 < len(steps) and pairs[at][0] != pairs[at][1] and pairs[at + 1] == pairs[at][::-1]
            here = range(at, at + 1 + both)
            changes = [self._change(steps[i], pairs[i], whole) for i in here]
            for key, change in (item for each in changes for item in each):
                whole[key] = whole[key] + change
            at += 1 + both
        return whole

    def _pair(self, step: Step) -> Pair:
        for pattern, pair in self.streams.items():
            if fnmatchcase(step.site.name, pattern):
                return pair
        raise MeasureError(f"{step.site.name} fits none of {list(self.streams)}; say which streams it joins.")

    def _start(self, steps: Sequence[Step], pairs: Sequence[Pair]) -> dict[Pair, Tensor]:
        lengths: dict[str, int] = {}
        for step, pair in zip(steps, pairs, strict=True):
            for name, length in zip(pair, step.shape[2:], strict=True):
                if lengths.setdefault(name, length) != length:
                    raise MeasureError(f"{step.site.name}: {name!r} had {lengths[name]} tokens, here it has {length}.")
        missing = set(self.names) - set(lengths)
        if missing or max(lengths.values()) > self.limit:
            raise MeasureError(
                f"the streams are {', '.join(self.names)} of up to {self.limit} tokens; the calls had {lengths}."
            )
        batch, device = steps[0].shape[0], steps[0].values.device
        return {
            (s, q): torch.eye(lengths[s], lengths[q], device=device).expand(batch, -1, -1) * float(s == q)
            for s in self.names
            for q in self.names
        }

    def _change(self, step: Step, pair: Pair, whole: dict[Pair, Tensor]) -> list[tuple[Pair, Tensor]]:
        """What one call adds."""
        s, q = pair
        if s == q:
            return [((s, other), _times(step, whole[s, other])) for other in self.names]
        mixed = _normalised(whole[s, s]).mT @ _times(step, _normalised(whole[q, q]))
        return [((s, q), mixed), ((s, s), _times(step, whole[q, s]))]


def _times(step: Step, x: Tensor) -> Tensor:
    r""":math:`\bar A x`, ``[B, K, C]`` -> ``[B, Q, C]``, in row tiles."""
    out = x.new_zeros(x.shape[0], step.shape[2], x.shape[2])

    def put(tile: Tensor, rows: Tensor) -> None:
        out[:, rows] = positive(step, tile, rows) @ x

    step.visit(put)
    return out


def _normalised(r: Tensor) -> Tensor:
    eye = torch.eye(r.shape[1], device=r.device)
    rest = r - eye
    total = rest.sum(-1, keepdim=True)
    return eye + rest / torch.where(total > 0, total, 1.0)
