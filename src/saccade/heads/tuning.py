"""[129] Training of a few heads alone: every other parameter stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .headset import HeadError, HeadSet
from .pruning import _linear, _parts, _rows

if TYPE_CHECKING:
    from saccade.hosts import Host


@contextmanager
def tuning(lm: Host, heads: HeadSet, beside: Sequence[nn.Module] = ()) -> Iterator[list[nn.Parameter]]:
    """Let only some heads learn, in the body: their rows of the projections to queries, keys and values, and their
    columns of the projection out. Keys and values that a head shares with others learn with it.

    The rest of those matrices gets a gradient of zero, all other parameters get none. Train what is yielded with an
    optimiser that leaves a zero gradient alone: no weight decay.

    Args:
        lm: an attached model of the Llama or BERT family.
        heads: heads of the main stack that learn.
        beside: modules that learn too, such as the feed-forward layers that follow the heads.

    Raises:
        HeadError: no heads, or a layout whose heads cannot be told apart.

    Source: Zhang et al., "Interpreting and Improving Large Language Models in Arithmetic Calculation" (paper 129),
    which tunes the heads (and feed-forward layers) that path patching finds.

    Example:
        >>> import saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, head_dim=4,
        ...                                      num_attention_heads=4, num_key_value_heads=4, vocab_size=32))
        >>> ids = torch.arange(9)[None]
        >>> with tuning(sc.attach(model), HeadSet({1: [2]})) as parameters:
        ...     model(input_ids=ids, labels=ids).loss.backward()
        >>> moved = model.model.layers[1].self_attn.q_proj.weight.grad.abs().sum(1).nonzero()[:, 0]
        >>> moved.tolist(), model.model.layers[0].self_attn.q_proj.weight.grad is None
        ([8, 9, 10, 11], True)
    """
    heads.check(lm)
    if not len(heads):
        raise HeadError("tuning needs heads, found none.")
    model: Any = lm.model
    learning = {parameter: parameter.requires_grad for parameter in model.parameters()}
    masks: dict[nn.Parameter, Tensor] = dict(_masks(lm, heads))
    whole = [parameter for module in beside for parameter in module.parameters()]
    chosen = [*masks, *whole]
    for parameter in learning:
        parameter.requires_grad_(any(parameter is one for one in chosen))
    handles = [parameter.register_hook(lambda grad, mask=mask: grad * mask) for parameter, mask in masks.items()]
    try:
        yield chosen
    finally:
        for handle in handles:
            handle.remove()
        for parameter, before in learning.items():
            parameter.requires_grad_(before)


def _masks(lm: Host, heads: HeadSet) -> Iterator[tuple[Any, Tensor]]:
    """Each weight and bias with a part that learns, and that part as zeros and ones."""
    for site in lm.sites:
        own = heads.heads_at(site)
        if not own:
            continue
        path, layout = _parts(lm, site)
        width = _linear(lm.model, path, layout.query).out_features // site.heads
        wide = _linear(lm.model, path, layout.value).out_features // site.kv_heads
        shared = sorted({head // site.group for head in own})
        for name, some, size in ((layout.query, own, width), (layout.key, shared, width), (layout.value, shared, wide)):
            linear = _linear(lm.model, path, name)
            mask = torch.zeros(linear.out_features, device=linear.weight.device)
            mask[_rows(some, size)] = 1
            yield linear.weight, mask[:, None].to(linear.weight.dtype)
            if linear.bias is not None:
                yield linear.bias, mask.to(linear.bias.dtype)
        out = _linear(lm.model, path, layout.out).weight
        mask = torch.zeros(out.shape[1], device=out.device, dtype=out.dtype)
        mask[_rows(own, wide)] = 1
        yield out, mask
