"""Dense attention in float64, written plainly, that transformers models call instead of their own.

It knows nothing of Saccade: an edit is a function of the whole matrices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

# (path, logits, member [B, K]) -> edited logits; (path, weights) -> edited weights; (path, heads) -> edited output
Edit = Callable[..., Tensor]
_state: dict[str, Any] = {"logits": None, "weights": None, "output": None, "paths": {}, "kv_heads": {}}


def oracle_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    path = _state["paths"].get(module)
    _state["kv_heads"][path] = key.shape[1]
    groups = query.shape[1] // key.shape[1]
    q, k, v = (tensor.double() for tensor in (query, key, value))
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scale = kwargs.get("scaling")
    logits = q @ k.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if kwargs.get("softcap"):
        logits = kwargs["softcap"] * torch.tanh(logits / kwargs["softcap"])
    if kwargs.get("position_bias") is not None:
        logits = logits + kwargs["position_bias"].double()
    if attention_mask is not None:
        hidden = attention_mask <= torch.finfo(attention_mask.dtype).min / 2
        logits = (logits + attention_mask.double().masked_fill(hidden, 0)).masked_fill(hidden, -torch.inf)
    if _state["logits"]:
        logits = _state["logits"](path, logits)
    sinks = getattr(module, "sinks", None)
    if sinks is not None:
        column = sinks.double().view(1, -1, 1, 1).expand(*logits.shape[:3], 1)
        logits = torch.cat([logits, column], dim=-1)
    weights = torch.softmax(logits, dim=-1).nan_to_num(0.0)
    if _state["weights"]:
        weights = _state["weights"](path, weights)
    if sinks is not None:
        weights = weights[..., :-1]
    output = weights @ v
    if _state["output"]:
        output = _state["output"](path, output)
    return output.transpose(1, 2).to(query.dtype).contiguous(), weights


@contextmanager
def oracle(model: nn.Module, **edits: Edit) -> Iterator[dict[str, int]]:
    """Let ``model`` call the oracle, with ``logits=``, ``weights=`` and ``output=`` edits.

    Yields the number of key-value heads of the modules that are called, by path.
    """
    AttentionInterface.register("oracle", oracle_attention)
    AttentionMaskInterface.register("oracle", eager_mask)
    before = {id(m.config): (m.config, m.config._attn_implementation) for m in model.modules() if hasattr(m, "config")}
    text = model.config.get_text_config()
    before[id(text)] = (text, text._attn_implementation)
    _state.update({"logits": None, "weights": None, "output": None} | edits)
    _state["kv_heads"] = {}
    _state["paths"] = {module: path for path, module in model.named_modules()}
    for config, _ in before.values():
        config._attn_implementation_internal = "oracle"
    try:
        yield _state["kv_heads"]
    finally:
        for config, name in before.values():
            config._attn_implementation_internal = name


@contextmanager
def eager_weights(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Record the weights that the model's own eager functions compute, call by call, by module path."""
    paths = {module: path for path, module in model.named_modules()}
    found: dict[str, list[Tensor]] = {}
    homes = {sys.modules[type(module).__module__] for module in model.modules()}
    homes = {home for home in homes if hasattr(home, "eager_attention_forward")}

    def recording(original: Callable[..., Any]) -> Callable[..., Any]:
        def function(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            output, weights = original(module, *args, **kwargs)
            found.setdefault(paths[module], []).append(weights)
            return output, weights

        return function

    patches = [
        mock.patch.object(home, "eager_attention_forward", recording(home.eager_attention_forward)) for home in homes
    ]
    for patch in patches:
        patch.start()
    try:
        yield found
    finally:
        for patch in patches:
            patch.stop()
