"""[94] Attention flow: the maximum flow through the graph of attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.core.errors import MeasureError

from .trace import Token, trace

if TYPE_CHECKING:
    from saccade.hosts import Host

UNIT = 2**30
"""Capacities are integers in the solver: a weight of 1 is this many."""


@dataclass(frozen=True)
class Flow:
    r"""How much could flow from an output token down to each input token, if every weight were a pipe.

    Nodes are the tokens of each layer; the edge from token i above layer l to token j below it has the capacity
    :math:`(1-\rho)\,\mathrm{mean}_h A_{l,h}[i,j] + \rho\,[i = j]`. The flow of input token j is the maximum flow from
    the output token to j, the other inputs being no sinks. Exact up to capacities rounded to 2^-30.

    One maximum flow for each input token over ``layers * tokens^2`` edges: seconds for 64 tokens and 6 layers, minutes
    for 200. Rollout is the method for long inputs.

    Args:
        residual: share of the residual stream; 0.5 in the paper.
        limit: the most tokens that are accepted.

    Source: Abnar & Zuidema, "Quantifying Attention Flow in Transformers" (paper 94). Needs scipy.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> Flow().explain(sc.attach(model), input_ids=torch.arange(9)[None]).shape
        torch.Size([1, 9])
    """

    residual: float = 0.5
    limit: int = 128

    def explain(self, lm: Host, prompt: Any = None, *, token: Token = -1, **inputs: Any) -> Tensor:
        """Maximum flow from an output token to each input token ``[B, N]``.

        Weights over several output tokens stand for a source with pipes of these capacities.
        """
        seen = trace(lm, prompt, **inputs)
        if seen.encoder_decoder:
            raise MeasureError("Flow follows one stack of self-attention; for an encoder-decoder use Rollout.")
        steps, start = seen.stack(), seen.start(token)
        batch, _, length, _ = steps[0].shape
        if length > self.limit:
            raise MeasureError(
                f"Flow solves one maximum flow a token: {length} tokens are more than its limit of {self.limit}. "
                "Raise limit= if you can wait, or use Rollout."
            )
        layers = torch.stack([step.rows(range(length)).float().mean(1) for step in steps])
        mixed = (1 - self.residual) * layers + self.residual * torch.eye(length, device=layers.device)
        found = [max_flows(mixed[:, b].double().cpu().numpy(), start[b].double().cpu().numpy()) for b in range(batch)]
        return torch.tensor(np.stack(found), dtype=torch.float32, device=start.device)


def max_flows(layers: NDArray[np.float64], source: NDArray[np.float64], sinks: Sequence[int] | None = None) -> Any:
    """Maximum flow from a weighted set of output tokens to each input token.

    Args:
        layers: mixing matrices ``[L, N, N]``, the first layer first; rows are outputs.
        source: weights of the output tokens ``[N]``.
        sinks: input tokens to solve for, all by default.

    Example:
        >>> both = np.array([[[0.5, 0.5], [0.25, 0.75]]])
        >>> max_flows(both, np.array([1.0, 0.0])).tolist()
        [0.5, 0.5]
    """
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_flow
    except ImportError:
        raise MeasureError("Flow needs scipy: pip install scipy.") from None
    depth, length, _ = layers.shape
    starts, ends, capacities = [], [], []
    for level, weights in enumerate(layers):
        above, below = np.nonzero(weights)
        starts.append((level + 1) * length + above)
        ends.append(level * length + below)
        capacities.append(weights[above, below])
    top = np.nonzero(source)[0]
    origin = (depth + 1) * length
    starts.append(np.full(len(top), origin))
    ends.append(depth * length + top)
    capacities.append(source[top])
    whole = np.floor(np.concatenate(capacities) * UNIT).astype(np.int32)
    edges = (whole, (np.concatenate(starts), np.concatenate(ends)))
    graph = csr_array(edges, shape=(origin + 1, origin + 1))
    wanted = range(length) if sinks is None else sinks
    return np.array([maximum_flow(graph, origin, sink).flow_value / UNIT for sink in wanted])
