"""[149, 159, 358] Concentration of attention: entropy, temperature and spectral gap; entropy curves; sink geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.edits import Rewrite
from saccade.core.measures import Entropy, LogSumExp

from .trace import Trace, trace

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True, eq=False)
class Concentration:
    """How concentrated each head is, ``[L, B, H]`` each, means over real rows.

    Attributes:
        entropy: in nats.
        relative: entropy over that of uniform attention on the keys that are seen; 1 is uniform.
        temperature: one over the standard deviation of a row's logits: the temperature of standard normal logits that
            are as spread; hot heads read widely.
        perplexity: ``exp(entropy)``: keys that are read, in effect.
    """

    entropy: Tensor
    relative: Tensor
    temperature: Tensor
    perplexity: Tensor


@torch.no_grad()
def concentration(lm: Host, prompt: Any = None, **inputs: Any) -> Concentration:
    """Read how concentrated attention is, in row tiles: O(n * tile) memory.

    The number of keys that a row sees is measured, not assumed: it is the exponential of the log-sum-exp of logits
    that are all zero.

    Source: papers 149 (entropy and temperature of attention as its concentration) and 159 (entropy as what ails
    parallel contexts).

    Example:
        >>> import saccade as sc
        >>> model, _ = sc.zoo.load("copier")
        >>> found = concentration(sc.attach(model), input_ids=torch.arange(40)[None])
        >>> found.entropy.shape, bool((found.relative <= 1.001).all())
        (torch.Size([2, 1, 8]), True)
    """
    seen = trace(lm, prompt, **inputs)
    rows = []
    for step in seen.stack():
        entropy = _read(step.operator.run(measures=[Entropy()])["entropy"])
        visible = seen_keys(step)
        real = _real(seen, entropy.shape[2], entropy.device)[:, None] * (visible > 1)
        spread = _spread(step)
        share = entropy / visible.clamp_min(2).log()
        rows.append([_mean(value, real) for value in (entropy, share, 1 / spread.clamp_min(1e-6), entropy.exp())])
    return Concentration(*(torch.stack(column) for column in zip(*rows, strict=True)))


def seen_keys(step: Any) -> Tensor:
    """How many keys each row sees ``[B, H, Q]``."""
    call = step.operator.call
    flat = replace(call, q=torch.zeros_like(call.q), bias=None, sinks=None)
    return _read(flat.run(measures=[LogSumExp()])["logsumexp"]).exp().round()


def _spread(step: Any) -> Tensor:
    """Standard deviation of each row's logits over the keys that it sees ``[B, H, Q]``, in row tiles."""
    _, heads, queries, _ = step.shape
    out = torch.zeros(step.shape[0], heads, queries, device=step.values.device)

    def look(tile: Tensor, rows: Tensor) -> Tensor:
        visible = ~torch.isneginf(tile)
        count = visible.sum(-1).clamp_min(1)
        kept = tile.float().masked_fill(~visible, 0.0)
        mean = kept.sum(-1) / count
        out[:, :, rows] = ((kept - mean[..., None]).masked_fill(~visible, 0.0).square().sum(-1) / count).sqrt()
        return tile

    step.operator.run(values=step.operator.call.v[..., :1], edits=[Rewrite(look, on="logits")])
    return out


def spectral_gap(weights: Tensor) -> Tensor:
    r"""One minus the size of the second eigenvalue of A: how fast A repeated would mix the tokens, ``[..., N, N]``.

    Source: paper 149, which takes the spectral gap as its second measure of concentration. Dense: for short inputs.

    Example:
        >>> spectral_gap(torch.full((3, 3), 1 / 3)).round(decimals=4), spectral_gap(torch.eye(3))
        (tensor(1.), tensor(0.))
    """
    sizes = torch.linalg.eigvals(weights.double()).abs().sort(dim=-1, descending=True).values
    gap: Tensor = (1 - sizes[..., 1]).float()
    return gap


def reference_frame(states: Tensor, sink: int = 0) -> dict[str, float]:
    """Geometry of hidden states ``[N, dim]`` about a sink: how much they are arranged around one token.

    Returns:
        ``alignment``: mean cosine of the other tokens with the sink;
        ``norm_ratio``: norm of the sink over the mean norm of the others; ``spread``: share of the variance of the
        others along the direction to the sink.

    Source: after paper 358, which tells centralised, distributed and bidirectional frames of reference apart.
    """
    others = torch.cat([states[:sink], states[sink + 1 :]]).double()
    centre = others.mean(0)
    towards = states[sink].double() - centre
    axis = towards / towards.norm().clamp_min(1e-12)
    rest = others - centre
    return {
        "alignment": float(torch.cosine_similarity(others, states[sink].double()[None], dim=-1).mean()),
        "norm_ratio": float(states[sink].norm() / others.norm(dim=-1).mean()),
        "spread": float((rest @ axis).square().sum() / rest.square().sum().clamp_min(1e-30)),
    }


def _real(seen: Trace, length: int, device: torch.device) -> Tensor:
    if seen.real is None:
        return torch.ones(1, length, device=device)
    return seen.real.float().to(device)


def _read(value: Any) -> Tensor:
    assert isinstance(value, Tensor)
    return value.float()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(-1) / weight.expand_as(values).sum(-1).clamp_min(1)
