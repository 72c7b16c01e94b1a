"""What the loss would feel of a head's gate: importance by gradient (paper 40)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from rich.progress import track
from torch import Tensor

from saccade.core.edits import ScaleHeads

from .data import prompts
from .headset import HeadError, HeadSet
from .reading import ranking
from .scoring import ids_of

if TYPE_CHECKING:
    from saccade.hosts import Host

Loss = Callable[[Any, Any], Tensor]
"""From (lm, batch) to the loss of each sample, ``[B]``, through which gradients flow."""


def answer_loss(lm: Any, batch: Any) -> Tensor:
    """Negative log-likelihood of the answers in nats, summed over their tokens: ``[B]``, for decoders."""
    prompt, answers = batch
    ids = [ids_of(lm, answer) for answer in answers]
    length = max(map(len, ids))
    wanted = torch.zeros(len(ids), length, dtype=torch.long, device=lm.model.device)
    inside = torch.zeros_like(wanted)
    for row, answer in enumerate(ids):
        wanted[row, : len(answer)] = torch.tensor(answer)
        inside[row, : len(answer)] = 1
    if not bool(prompt.attention_mask[:, -1].all()):
        raise HeadError(
            "answers follow the prompt, so a batch is padded on the left: lm.prompt(..., padding_side='left')."
        )
    mask = torch.cat([prompt.attention_mask.to(wanted.device), inside], 1)
    logits = lm(
        input_ids=torch.cat([prompt.input_ids.to(wanted.device), wanted], 1),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp_min(0),
    ).logits[:, -length - 1 : -1]
    each = logits.float().log_softmax(-1).gather(-1, wanted[..., None])[..., 0]
    loss: Tensor = -(each * inside).sum(1)
    return loss


@dataclass(frozen=True)
class Sensitivity:
    """Expected absolute gradient of the loss with respect to a gate on each head's output.

    With z_h ← ξ_h z_h at ξ = 1,

    .. math:: I_h = E_x \\left| \\frac{∂L(x)}{∂ξ_h} \\right| = E_x \\left| z_h(x)^T \\frac{∂L(x)}{∂z_h} \\right|

    then, in each layer, divided by the ℓ2 norm of the layer's scores. One forward and one backward pass, whatever the
    number of heads. Heads are pruned from the end of the ranking.

    Args:
        loss: loss of each sample, ``loss(lm, batch) -> [B]``; that of the answers by default.
        normalise: divide by the norm of the layer, as published.

    Source: Michel et al., "Are Sixteen Heads Really Better than One?" (paper 40), equation 2 and section 4.1.
    """

    loss: Loss = answer_loss
    normalise: bool = True
    name: ClassVar[str] = "sensitivity"

    def __call__(self, lm: Host, data: Any, *, among: HeadSet | None = None, progress: bool = True) -> HeadSet:
        """Every head of the main stack with its score."""
        grouped = [data] if isinstance(data, tuple) or hasattr(data, "inputs") else list(data)
        read = [self.gradients(lm, batch).abs() for batch in track(grouped, self.name, disable=not progress)]
        if not read:
            raise HeadError("sensitivity needs data, found none: give a labelled set.")
        mean = torch.cat(read, 1).double().mean(1)
        sites = [site for site in lm.sites if site.main]
        if self.normalise:
            mean = mean / mean.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        rows = {site.layer: mean[number][None, : site.heads] for number, site in enumerate(sites)}
        return ranking(lm, self.name, [rows], among)

    def gradients(self, lm: Host, batch: Any) -> Tensor:
        """∂L(x)/∂ξ_h, signed, for every sample: ``[layers, B, H]``; 0 where a layer has fewer heads."""
        sites = [site for site in lm.sites if site.main]
        device: Any = lm.model.device
        size = len(next(prompts(batch if not isinstance(batch, tuple) else [batch])).input_ids)
        gates = [torch.ones(size, site.heads, 1, device=device, requires_grad=True) for site in sites]
        edits = [ScaleHeads(gate, at={site.name: None}) for site, gate in zip(sites, gates, strict=True)]
        with torch.enable_grad(), lm.steer(*edits):
            losses = self.loss(lm, batch)
            found = torch.autograd.grad(losses.sum(), gates)
        widest = max(site.heads for site in sites)
        return torch.stack([torch.nn.functional.pad(each[..., 0], (0, widest - each.shape[1])) for each in found])


@dataclass(frozen=True)
class Memorisation:
    """Heads whose gates matter more for memorised texts than for others: ``{"memorised": ..., "other": ...}``.

    The difference of the unnormalised :class:`Sensitivity` on the two labelled sets.

    Source: Stoehr et al., "Localizing Paragraph Memorization in Language Models" (paper 354). Differs: gradients of
    gates, where the paper takes those of the parameters.
    """

    loss: Loss = answer_loss
    name: ClassVar[str] = "memorisation"

    def __call__(self, lm: Host, data: Any, *, among: HeadSet | None = None, progress: bool = True) -> HeadSet:
        """Every head of the main stack with its score."""
        if not isinstance(data, Mapping) or set(data) != {"memorised", "other"}:
            raise HeadError('memorisation needs two labelled sets, {"memorised": ..., "other": ...}.')
        plain = Sensitivity(self.loss, normalise=False)
        known, other = (plain(lm, data[name], among=among, progress=progress) for name in ("memorised", "other"))
        less = {head.place: head.score for head in other}
        return HeadSet([(*head.place, head.score - less[head.place]) for head in known], self.name, known.model)
