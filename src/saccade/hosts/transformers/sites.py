"""Finding attention sites in a transformers model, by what their code does and not by what they are called.

A module is a site if its ``forward`` asks ``ALL_ATTENTION_FUNCTIONS`` for the attention function to call.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from saccade.core.errors import HostError
from saccade.core.sites import Site
from saccade.hosts.code import CROSS, forward_code, heads_of, names_in

REGISTRY = "ALL_ATTENTION_FUNCTIONS"
SWAPPED = "saccade_swap"
"""Attribute of a module in which a mechanism stands for softmax attention: there are no logits to see or steer."""
STACK_OF_MODALITY = {"image": "vision", "video": "vision", "audio": "audio", "text": "text"}


def dispatches(module: nn.Module) -> bool:
    """Whether a module asks the registry for its attention function."""
    return REGISTRY in names_in(forward_code(module)[0])


def original_function(module: nn.Module, implementation: str | None) -> Callable[..., Any]:
    """The attention function that ``module`` would call under ``implementation``."""
    code, scope = forward_code(module)
    eager = [name for name in sorted(names_in(code)) if "eager" in name and callable(scope.get(name))]
    default = scope[eager[0]] if eager else vars(sys.modules[type(module).__module__])["eager_attention_forward"]
    function: Callable[..., Any] = scope[REGISTRY].get_interface(implementation or "eager", default)
    return function


def attention_modules(model: nn.Module) -> tuple[dict[str, nn.Module], tuple[str, ...]]:
    """Modules that dispatch, by path, and paths of attention-like modules that do not."""
    modules = dict(model.named_modules())
    swapped = [path for path, module in modules.items() if hasattr(module, SWAPPED)]
    sites = {path: module for path, module in modules.items() if dispatches(module) and path not in swapped}
    strangers = list(swapped)
    for path, module in modules.items():
        if "attention" not in type(module).__name__.lower() or path in sites or path in swapped:
            continue
        inside = f"{path}." if path else ""
        kin = any(site.startswith(inside) or path.startswith(f"{site}.") for site in sites)
        nested = any(path.startswith(f"{other}.") for other in strangers)
        if not kin and not nested and next(module.parameters(), None) is not None:
            strangers.append(path)
    return sites, tuple(strangers)


def find_sites(model: nn.Module) -> tuple[dict[str, tuple[Site, nn.Module]], tuple[str, ...]]:
    """Sites by name with their modules, and the paths of attention that cannot be reached."""
    modules, unreachable = attention_modules(model)
    if not modules:
        raise HostError(_no_dispatch(model, unreachable))
    places = {path: _place(model, path, module) for path, module in modules.items()}
    taken = Counter(places.values())
    running: Counter[tuple[str, str]] = Counter()
    main = main_axis(model, {stack for stack, _, _ in places.values()})
    found: dict[str, tuple[Site, nn.Module]] = {}
    crowded = {(stack, kind) for (stack, _, kind), count in taken.items() if count > 1}
    for path, module in modules.items():
        stack, layer, kind = places[path]
        if (stack, kind) in crowded:
            layer = running[stack, kind]
            running[stack, kind] += 1
        heads, kv_heads = heads_of(module)
        name = f"{stack}.{layer}.{kind}"
        is_main = stack == main and kind == "self"
        found[name] = (Site(name, layer, kind, heads, kv_heads, stack, path, is_main), module)
    return found, unreachable


def main_axis(model: nn.Module, stacks: set[str]) -> str:
    """The stack whose tokens plain spans are about: the encoder, else the text, else the only stack there is."""
    for stack in ("encoder", "text", "decoder"):
        if stack in stacks:
            return stack
    return sorted(stacks)[0]


def image_token(config: Any) -> int | None:
    """Id of the image placeholder token, if the model has one."""
    for name in ("image_token_id", "image_token_index"):
        token = getattr(config, name, None)
        if isinstance(token, int):
            return token
    return None


def _place(model: nn.Module, path: str, module: nn.Module) -> tuple[str, int, str]:
    """Stack, layer and kind of a site."""
    numbers = [int(part) for part in path.split(".") if part.isdigit()]
    cross = bool(CROSS.search(path.rsplit(".", 3)[-1] if not numbers else path.split(f".{numbers[0]}.", 1)[-1]))
    cross = cross or getattr(module, "is_cross_attention", False) is True or bool(CROSS.search(type(module).__name__))
    return _stack(model, path, module), numbers[0] if numbers else 0, "cross" if cross else "self"


def _stack(model: nn.Module, path: str, module: nn.Module) -> str:
    key = _config_key(model.config, module.config)
    if key not in (None, "text"):
        return key
    if getattr(model.config, "is_encoder_decoder", False):
        for part in path.split("."):
            if part in ("encoder", "decoder"):
                return part
    if key is not None:
        return key
    modalities = _modalities(model, path)
    stacks = {STACK_OF_MODALITY.get(modality, modality) for modality in modalities}
    return stacks.pop() if len(stacks) == 1 else "text"


def _config_key(config: Any, wanted: Any) -> str | None:
    """Name under which a model's configuration holds a site's: ``vision`` for ``config.vision_config``."""
    for key, value in _sub_configs(config):
        if value is wanted:
            return re.sub(r"_?config$", "", key) or key
    return None


def _sub_configs(config: Any) -> Iterator[tuple[str, Any]]:
    keys: Mapping[str, Any] = getattr(config, "sub_configs", {})
    for key in keys:
        value = getattr(config, key, None)
        if value is not None and value is not config:
            yield from _sub_configs(value)
            yield key, value


def _modalities(model: nn.Module, path: str) -> tuple[str, ...]:
    """Input modalities of the innermost model around a path."""
    node, found = model, getattr(model, "input_modalities", "text")
    for part in path.split("."):
        node = getattr(node, part)
        found = getattr(node, "input_modalities", found)
    return (found,) if isinstance(found, str) else tuple(found)


def _no_dispatch(model: nn.Module, strangers: tuple[str, ...]) -> str:
    name = type(model).__name__
    if any(hasattr(model.get_submodule(path), SWAPPED) for path in strangers):
        return (
            f"every attention of {name} was replaced by a mechanism, and has no logits to see or steer; "
            "saccade.swap(model, None) puts the model's own back."
        )
    if not strangers:
        return f"{name} has no attention that Saccade can find: none of its modules asks {REGISTRY} for a function."
    kinds = sorted({type(model.get_submodule(path)).__name__ for path in strangers})
    shown = ", ".join(strangers[:3]) + (", ..." if len(strangers) > 3 else "")
    fused = any("scaled_dot_product_attention" in names_in(forward_code(model.get_submodule(p))[0]) for p in strangers)
    advice = (
        "Its code calls scaled_dot_product_attention itself: saccade.hosts.torch.attach(model) can host those calls."
        if fused
        else "Use an architecture that dispatches (llama, gpt2, bert, t5 and over 400 others do), or one whose code "
        "calls torch's scaled_dot_product_attention, with saccade.hosts.torch.attach(model)."
    )
    return (
        f"{name} computes attention in its own code instead of asking transformers' attention interface: "
        f"{len(strangers)} modules of type {', '.join(kinds)} ({shown}) cannot be reached. {advice}"
    )
