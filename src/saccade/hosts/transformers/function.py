"""The attention function and the mask function that transformers calls while a context is open."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import masking_utils

from saccade.core.errors import HostError
from saccade.core.sites import Site
from saccade.hosts.axes import Place
from saccade.hosts.call import Call
from saccade.hosts.session import open_frames, run_of

from . import masks, sites, switch

UNSERVED = ("indices", "block_indices", "cache")


def mask(**kwargs: Any) -> Tensor | None:
    """Mask function: what the model's original one would return, as structure where a context is open here."""
    build = switch.mask_builder(kwargs.get("config"))
    if not open_frames():
        return build(**kwargs)
    if build is not masking_utils.eager_mask:
        build = masking_utils.sdpa_mask
    return masks.structured_mask(build, **kwargs)


@torch.compiler.disable
def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """Attention function: the engine where a context concerns this call, the model's original function elsewhere."""
    original = switch.original_of(module.config)
    for host in {id(frame.host): frame.host for frame in open_frames()}.values():
        site = host.site_of(module) if hasattr(host, "site_of") else None
        if site is None:
            continue
        call, place = translate(site, module, original, query, key, value, attention_mask, kwargs, host)
        values = host._apply(call, place)
        if values is not None:
            return values.transpose(1, 2).contiguous(), None
    function = sites.original_function(module, original)
    return function(module, query, key, value, masks.plain(attention_mask), **kwargs)


def translate(
    site: Site,
    module: nn.Module,
    original: str | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    kwargs: dict[str, Any],
    host: Any,
) -> tuple[Call, Place]:
    """What a model asked of its attention function, in the engine's words, and where its keys stand."""
    for name in UNSERVED:
        if kwargs.get(name) is not None:
            raise HostError(
                f"site {site.name} passes {name!r} to its attention function (sparse or paged attention), which "
                "Saccade does not serve; load the model without it."
            )
    queries = query.shape[2]
    batch = max(query.shape[0], key.shape[0])
    query, key, value = (
        tensor if tensor.shape[0] == batch else tensor.expand(batch, -1, -1, -1) for tensor in (query, key, value)
    )
    bias = kwargs.get("position_bias")
    causal, window, first, aligned = False, None, 0, None
    structured = isinstance(mask, masks.StructuredMask)
    if structured and _fits(mask.structure, queries, key.shape[2]):
        structure = mask.structure
        causal, window, first = structure.causal, structure.window, structure.kv_offset
        mask = structure.key
        if structure.end < structure.kv_length:
            aligned = structure.end
            mask = None if mask is None else mask[:, :aligned]
            mask = None if mask is None or bool(mask.all()) else mask
    elif mask is not None:
        mask = masks.plain(mask)
        if mask.dim() == 4 and mask.shape[-1] > key.shape[2]:
            mask = mask[..., : key.shape[2]]
    elif original != "eager":
        causal = kwargs.get("is_causal")
        causal = queries > 1 and bool(getattr(module, "is_causal", True) if causal is None else causal)
        if causal and key.shape[2] > queries:
            aligned = queries
    if aligned is not None:
        key, value = key[:, :, :aligned], value[:, :, :aligned]
        bias = bias if bias is None else bias[..., :aligned]
    total, first = _tokens(site, host, causal, queries, key.shape[2], first)
    run = run_of(host)
    grows = causal or run.generating or bool(run.caches) or site.stack == "decoder"
    place = Place(
        first=first,
        keys=key.shape[2],
        queries=queries,
        total=total,
        batch=batch,
        grows=grows and site.stack in ("text", "decoder"),
        device=query.device,
    )
    call = Call(
        site=site,
        q=query,
        k=key,
        v=value,
        causal=causal,
        mask=mask,
        scale=kwargs.get("scaling"),
        softcap=kwargs.get("softcap"),
        sinks=_sinks(module, kwargs),
        bias=bias,
        window=window,
        dropout=float(kwargs.get("dropout") or 0.0),
    )
    return call, place


def _fits(structure: masks.Structure, queries: int, keys: int) -> bool:
    """Whether a structure is about this call, with its queries at the end of its keys."""
    if (structure.q_length, structure.kv_length) != (queries, keys):
        return False
    return structure.end == keys or (structure.causal and 0 < structure.end < keys)


def _tokens(site: Site, host: Any, causal: bool, queries: int, keys: int, first: int) -> tuple[int, int]:
    """Number of tokens so far and the token index of the first key."""
    if site.kind == "cross":
        return keys, 0
    held = run_of(host).caches.get(site.path)
    if held is None:
        return first + keys, first
    cache, layer = held
    total = int(cache.get_seq_length(layer))
    return total, max(0, total - keys)


def _sinks(module: nn.Module, kwargs: dict[str, Any]) -> Tensor | None:
    for sinks in (kwargs.get("s_aux"), kwargs.get("sinks"), getattr(module, "sinks", None)):
        if isinstance(sinks, Tensor):
            return sinks.reshape(-1)
    return None
