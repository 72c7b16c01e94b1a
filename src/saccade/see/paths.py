"""[94, 186] What flows into one output token layer by layer, among the tokens that matter most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.core.errors import MeasureError

from .relevance import Relevance, carried, positive
from .rollout import Rollout
from .targets import predicted
from .trace import Step, Target, trace

if TYPE_CHECKING:
    from saccade.hosts import Host


@dataclass(frozen=True, eq=False)
class Paths:
    r"""A layered graph: levels 0 (the input) to L (the output), M tokens in each.

    Attributes:
        tokens: positions of the M tokens ``[M]``, in the order of the text: those with the largest share at any level.
        nodes: ``[L + 1, M]`` float32, the share of a level that is in each token; with the tokens that are left out,
            each level adds up to 1.
        edges: ``[L, M, M]`` float32: ``edges[l, i, j]`` is what token i above layer l has from token j below it, the
            residual stream on the diagonal; over all i they add up to ``nodes[l, j]``.
    """

    tokens: Tensor
    nodes: Tensor
    edges: Tensor

    def tobytes(self) -> bytes:
        """L, M, tokens, nodes, edges, all as little-endian float32."""
        sizes = torch.tensor(self.edges.shape[:2], dtype=torch.float32)
        parts = (sizes, self.tokens, self.nodes, self.edges)
        whole = torch.cat([part.float().flatten().cpu() for part in parts])
        data: bytes = whole.numpy().astype("<f4").tobytes()
        return data


def paths(
    lm: Host,
    prompt: Any = None,
    *,
    token: int = -1,
    by: Rollout | Relevance | None = None,
    most: int = 24,
    target: Target | None = None,
    **inputs: Any,
) -> Paths:
    r"""The paths that rollout or relevance takes from an output token down to the input.

    With :math:`M_l` the mixing matrix of layer l, :math:`(1-\rho)\,\mathrm{mean}_h A_{l,h} + \rho I` for rollout and
    :math:`I + \mathrm{mean}_h (\nabla A_{l,h} \odot A_{l,h})^+` for relevance,

    .. math::
        g_L = e_t, \qquad g_l = M_l^\top g_{l+1}, \qquad e_{l,ij} = g_{l+1,i}\, M_{l,ij} ,

    each level divided by its sum. First all :math:`g_l`, by vector-Jacobian products or row tiles; then whole rows of
    the M tokens alone: O(n · M) memory.

    Args:
        lm: an attached model with one stack of self-attention.
        prompt: one prompt.
        token: the output token, an index among the real tokens.
        by: ``Rollout`` with mean fusion (the default), or ``Relevance``.
        most: M, the most tokens that are kept.
        target: for relevance, what it is the relevance of; by default the largest logit at the token.
        inputs: the model's inputs, instead of a prompt.

    Raises:
        MeasureError: several samples, an encoder-decoder, another fusion, or no logits and no target for relevance.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> found = paths(sc.attach(model), input_ids=torch.arange(9)[None], most=9)
        >>> found.edges.shape, torch.allclose(found.edges.sum(1), found.nodes[:-1])
        (torch.Size([2, 9, 9]), True)
    """
    method = Rollout() if by is None else by
    if isinstance(method, Rollout) and method.fusion != "mean":
        raise MeasureError(f"paths follow the mean over heads; found Rollout(fusion={method.fusion!r}).")
    relevance = isinstance(method, Relevance)
    if relevance and target is None:
        target = predicted(lm, prompt, token, **inputs)
    seen = trace(lm, prompt, target=target if relevance else None, **inputs)
    if seen.encoder_decoder:
        raise MeasureError("paths are drawn for one stack of self-attention; for an encoder-decoder call the method.")
    steps, state = seen.stack(), seen.start(token)
    if len(state) != 1:
        raise MeasureError(f"paths are those of one prompt, found {len(state)}.")
    residual = method.residual if isinstance(method, Rollout) else 1.0

    def back(step: Step, g: Tensor) -> Tensor:
        if relevance:
            return carried(step, g, transpose=True)
        return (1 - residual) * step.transposed(g[:, None]).mean(1).float()

    def rows(step: Step, chosen: Tensor) -> Tensor:
        whole = step.rows(chosen.tolist())
        if relevance:
            return positive(step, whole, chosen)[0]
        return (1 - residual) * whole[0].mean(0).float()

    levels = [state]
    for step in reversed(steps):
        levels.append(residual * levels[-1] + back(step, levels[-1]))
    carry = torch.cat(levels[::-1])
    sums = carry.sum(1, keepdim=True)
    nodes = carry / sums
    chosen = nodes.amax(0).topk(min(most, nodes.shape[1])).indices.sort().values
    edges = torch.stack([rows(step, chosen)[:, chosen] for step in steps])
    edges += residual * torch.eye(len(chosen), device=edges.device)
    return Paths(chosen, nodes[:, chosen], edges * carry[1:, chosen, None] / sums[:-1, :, None])
