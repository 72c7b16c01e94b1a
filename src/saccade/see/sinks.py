"""[278] Attention sinks: how strong, in which layers, for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.core.errors import MeasureError

from .massive import blocks_of
from .trace import Trace, trace

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True)
class Sink:
    """A token that draws attention over some consecutive layers.

    Attributes:
        sample, token: where it stands.
        first, lifetime: its first layer, and for how many layers it lasts.
        strength: its greatest strength.
        primary: whether it is the strongest sink of its sample.
    """

    sample: int
    token: int
    first: int
    lifetime: int
    strength: float
    primary: bool


@dataclass(frozen=True, eq=False)
class Sinks:
    """What :func:`sinks` returns.

    Attributes:
        strength: ``[L, B, H, N]``: mean attention on each token of the rows that can see it (itself left out).
        found: every sink, the primary ones first.
        threshold: strength (mean over heads) from which a token counts as a sink.
    """

    strength: Tensor
    found: tuple[Sink, ...]
    threshold: float

    @property
    def primary(self) -> tuple[Sink, ...]:
        """The strongest sink of each sample that has one, over each of its stretches of layers."""
        return tuple(sink for sink in self.found if sink.primary)

    @property
    def secondary(self) -> tuple[Sink, ...]:
        """All other sinks."""
        return tuple(sink for sink in self.found if not sink.primary)


def sinks(lm: Host, prompt: Any = None, *, threshold: float = 0.1, heads: bool = False, **inputs: Any) -> Sinks:
    """Find the tokens that draw attention whatever is asked.

    The strength of token j is the mean of ``A[i, j]`` over the other real rows i that can see it; a token is a sink
    in the layers where the mean over heads (with ``heads``, the largest of a head) reaches the threshold. The token
    with the greatest mean strength over layers is the primary sink of its sample, others are secondary.

    Args:
        lm: an attached model.
        prompt: a prompt of ``lm.prompt(...)``.
        threshold: least strength of a sink.
        heads: judge a token by its strongest head.
        inputs: the model's inputs, instead of a prompt.

    Source: paper 278, whose primary sinks persist through the network while secondary ones arise in middle layers.

    Example:
        >>> import saccade as sc
        >>> model, tokenizer = sc.zoo.load("copier")
        >>> found = sinks(sc.attach(model), input_ids=torch.arange(1, 31)[None], threshold=0.2)
        >>> found.primary[0].token
        5
    """
    seen = trace(lm, prompt, **inputs)
    strength = strengths(seen)
    level = strength.amax(2) if heads else strength.mean(2)
    chief = level.mean(0).argmax(-1)
    found = []
    for sample in range(level.shape[1]):
        for token in range(level.shape[2]):
            for first, lifetime in _stretches((level[:, sample, token] >= threshold).tolist()):
                top = float(level[first : first + lifetime, sample, token].max())
                found.append(Sink(sample, token, first, lifetime, top, token == int(chief[sample])))
    return Sinks(strength, tuple(sorted(found, key=lambda sink: (not sink.primary, -sink.strength))), threshold)


@torch.no_grad()
def strengths(seen: Trace, least: int = 4) -> Tensor:
    """Mean attention on each token of the other real rows that see it, ``[L, B, H, N]``; 0 if fewer than ``least`` do.

    In row tiles, O(n * tile) memory.
    """
    steps = seen.stack()
    batch, heads, length, _ = steps[0].shape
    device = steps[0].values.device
    real = torch.ones(batch, length, dtype=torch.bool, device=device) if seen.real is None else seen.real.to(device)
    found = []
    for step in steps:
        total = torch.zeros(batch, heads, length, device=device)
        viewers = torch.zeros(batch, 1, length, device=device)

        def add(tile: Tensor, rows: Tensor, total: Tensor = total, viewers: Tensor = viewers) -> None:
            other = (rows[:, None] != torch.arange(length, device=device)) & real[:, rows, None]
            part = tile.float() * other[:, None]
            total.add_(part.sum(2))
            viewers.add_((part > 0).any(1, keepdim=True).sum(2))

        step.visit(add)
        found.append(torch.where(viewers >= least, total / viewers.clamp_min(1), 0.0))
    return torch.stack(found)


@contextmanager
def planted(lm: Host, layer: int, places: Tensor, size: float, direction: Tensor | None = None) -> Iterator[None]:
    r"""Make secondary sinks in the body: add :math:`s\,\|h_0\|\,u` to the states of some tokens after a layer.

    :math:`h_0` is the state there of the first token, the usual primary sink, and :math:`u` its
    direction: what the feed-forward layers that make secondary sinks write.

    Args:
        lm: an attached model; its output states are ``[B, N, dim]``.
        layer: hidden state that is changed; l is the output of layer l - 1.
        places: tokens that become sinks, boolean ``[B, N]``; padding must be on the right.
        size: :math:`s`, the norm of what is added as a share of the primary sink's own.
        direction: another direction ``[dim]``, as a control.

    Source: paper 278, sections on how secondary sinks are formed.

    Example:
        >>> import saccade as sc
        >>> from transformers import BertConfig, BertModel
        >>> lm = sc.attach(BertModel(BertConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        ...                                     intermediate_size=16, vocab_size=30)).eval())
        >>> with planted(lm, 1, torch.arange(8)[None] == 5, 1.0):
        ...     strength = strengths(trace(lm, input_ids=torch.arange(8)[None]))
        >>> strength.shape
        torch.Size([3, 1, 2, 8])
    """
    blocks = blocks_of(lm)
    if not 1 <= layer <= len(blocks):
        raise MeasureError(f"hidden state {layer} is no output of a layer; there are layers 1 to {len(blocks)}.")

    def hook(_: Any, __: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        primary = states[:, :1]
        along = F.normalize(primary if direction is None else direction.to(states), dim=-1)
        changed = states + size * primary.norm(dim=-1, keepdim=True) * along * places.to(states)[..., None]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = lm.model.get_submodule(blocks[layer - 1]).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _stretches(flags: list[bool]) -> list[tuple[int, int]]:
    """Start and length of each run of True."""
    found, start = [], None
    for index, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = index
        if not flag and start is not None:
            found.append((start, index - start))
            start = None
    return found
