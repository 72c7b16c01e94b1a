"""What the code of a module says about it: the functions it calls, and how many heads it has."""

from __future__ import annotations

import inspect
import re
from types import CodeType
from typing import Any

from torch import nn

HEADS = ("num_heads", "num_attention_heads", "n_heads", "num_q_heads", "n_head", "heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads")
GROUPS = ("num_key_value_groups", "num_kv_groups")
WIDTHS = ("qk_head_dim", "head_dim", "attention_head_size", "key_value_proj_dim")
CROSS = re.compile(r"cross|encoder_attn|encdec|enc_dec|encoder_decoder", re.IGNORECASE)


def forward_code(module: nn.Module) -> tuple[CodeType, dict[str, Any]]:
    """Code and globals of a module's own ``forward``, below every decorator."""
    function = inspect.unwrap(type(module).forward)
    return function.__code__, function.__globals__


def names_in(code: CodeType) -> set[str]:
    """Global and attribute names that code mentions, nested functions included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return names


def heads_of(module: nn.Module) -> tuple[int, int]:
    """Query heads and key-value heads as the module or its configuration states them; 0 if neither does."""
    config = getattr(module, "config", None)
    heads = stated(module, HEADS) or stated(config, HEADS) or 0
    groups = stated(module, GROUPS)
    return heads, stated(module, KV_HEADS) or (heads // groups if groups else heads)


def stated(holder: Any, names: tuple[str, ...]) -> int | None:
    """The first of some attributes that ``holder`` has as a number."""
    return next((value for name in names if isinstance(value := getattr(holder, name, None), int)), None)
