"""Masks that remember their structure, so that the dense matrix is built only if a model's own code asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from transformers import masking_utils as mu


@dataclass(frozen=True, eq=False)
class Structure:
    """Query i stands at ``q_offset + i``, key j at ``kv_offset + j``; see :class:`saccade.core.visibility.Visibility`.

    Attributes:
        key: real tokens, boolean ``[B, kv_length]``, None if all are.
    """

    q_length: int
    kv_length: int
    q_offset: int
    kv_offset: int
    causal: bool
    window: int | None
    key: Tensor | None

    @property
    def end(self) -> int:
        """Number of keys up to the position of the last query, all keys where positions do not matter.

        Under a causal mask the keys beyond are unused cache slots.
        """
        if not self.causal and self.window is None:
            return self.kv_length
        return self.q_offset + self.q_length - self.kv_offset


class StructuredMask(Tensor):
    """A mask of the usual shape and dtype that holds no matrix: its structure, and how to build it on demand.

    Reading its shape, dtype or device is free; any other use builds the dense tensor and goes on with that.
    """

    structure: Structure
    _build: Callable[[], Tensor]
    _built: Tensor | None

    @staticmethod
    def __new__(cls, structure: Structure, build: Callable[[], Tensor], batch: int, stub: Tensor) -> StructuredMask:
        """``stub`` is a scalar with the dtype and device of the mask."""
        self = stub.expand(batch, 1, structure.q_length, structure.kv_length).as_subclass(cls)
        self.structure, self._build, self._built = structure, build, None
        return self

    def dense(self) -> Tensor:
        """The mask as a plain tensor."""
        if self._built is None:
            self._built = self._build()
        return self._built

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in FREE:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        args, kwargs = tree_map(plain, (args, kwargs or {}))
        return func(*args, **kwargs)


FREE = {
    getattr(Tensor, name).__get__
    for name in ("shape", "dtype", "device", "ndim", "layout", "requires_grad", "is_cuda", "is_mps")
} | {Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.is_floating_point, Tensor.__len__}


def plain(value: Any) -> Any:
    """``value``, with a structured mask made dense."""
    return value.dense() if isinstance(value, StructuredMask) else value


class _NeedsMatrix(Exception):
    """Raised by the probe when a mask function would build a matrix."""


def structured_mask(build: Callable[..., Tensor | None], **kwargs: Any) -> Tensor | None:
    """What ``build(**kwargs)`` returns, with its structure instead of a matrix where that is possible.

    Args:
        build: the mask function that the model would have used (transformers' ``sdpa_mask`` or ``eager_mask``).
        kwargs: what transformers passes to mask functions.
    """
    pattern = _pattern(kwargs["mask_function"])
    if torch.compiler.is_compiling() or pattern is None or kwargs["q_length"] == 1:
        return build(**kwargs)
    if not _builds_matrix(build, kwargs):
        return None
    causal, window = pattern
    device = kwargs.get("device", "cpu")
    structure = Structure(
        q_length=kwargs["q_length"],
        kv_length=kwargs["kv_length"],
        q_offset=int(kwargs.get("q_offset", 0)),
        kv_offset=int(kwargs.get("kv_offset", 0)),
        causal=causal,
        window=window,
        key=_real_keys(kwargs.get("attention_mask"), kwargs["kv_length"], int(kwargs.get("kv_offset", 0))),
    )
    dtype = torch.bool if build is mu.sdpa_mask else kwargs.get("dtype", torch.float32)
    stub = torch.zeros((), dtype=dtype, device=device)
    return StructuredMask(structure, lambda: _dense(build, kwargs), kwargs["batch_size"], stub)


def _dense(build: Callable[..., Tensor | None], kwargs: dict[str, Any]) -> Tensor:
    mask = build(**{**kwargs, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})
    assert mask is not None
    return mask


def _builds_matrix(build: Callable[..., Tensor | None], kwargs: dict[str, Any]) -> bool:
    """Whether ``build`` would evaluate its mask function, found by giving it one that only raises."""

    def probe(*_: Any) -> Tensor:
        raise _NeedsMatrix

    try:
        build(**{**kwargs, "mask_function": probe, "attention_mask": kwargs.get("attention_mask")})
    except _NeedsMatrix:
        return True
    return False


def _real_keys(tokens: Tensor | None, length: int, offset: int) -> Tensor | None:
    if tokens is None:
        return None
    tokens = tokens.to(torch.bool)
    missing = length + offset - tokens.shape[-1]
    if missing > 0:
        tokens = torch.nn.functional.pad(tokens, (0, missing))
    tokens = tokens[:, offset : offset + length]
    return None if bool(tokens.all()) else tokens


def _pattern(mask_function: Callable[..., Any]) -> tuple[bool, int | None] | None:
    """(causal, window) of a transformers mask function, None if it is anything else."""
    causal, window = False, None
    for part in _parts(mask_function):
        code = getattr(part, "__code__", None)
        if part is mu.causal_mask_function:
            causal = True
        elif part is mu.bidirectional_mask_function:
            continue
        elif code is _code(mu.sliding_window_overlay):
            window = _least(window, _captured(part, "sliding_window"))
        elif code is _code(mu.sliding_window_bidirectional_overlay):
            window = _least(window, _captured(part, "sliding_window") + 1)
        else:
            return None
    return causal, window


def _parts(mask_function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The conjuncts of a mask function."""
    if getattr(mask_function, "__code__", None) is _code(mu.and_masks):
        for part in _captured(mask_function, "mask_functions"):
            yield from _parts(part)
    else:
        yield mask_function


def _code(factory: Callable[..., Any]) -> CodeType:
    """Code of the function that a factory of mask functions returns."""
    assert isinstance(factory, FunctionType)
    codes = [constant for constant in factory.__code__.co_consts if isinstance(constant, CodeType)]
    return next(code for code in codes if not code.co_name.startswith("<"))


def _captured(function: Callable[..., Any], name: str) -> Any:
    assert isinstance(function, FunctionType)
    assert function.__closure__ is not None
    return function.__closure__[function.__code__.co_freevars.index(name)].cell_contents


def _least(first: int | None, second: int) -> int:
    return second if first is None else min(first, second)
