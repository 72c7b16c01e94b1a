"""Counted work: floating-point operations, bytes moved and kernel calls, element-wise ones included."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
FREE = {
    aten.detach.default,
    aten.empty.memory_format,
    aten.new_empty.default,
    aten.empty_like.default,
    aten._local_scalar_dense.default,
}
SORTS = {aten.sort, aten.topk, aten.argsort, aten._fft_r2c, aten._fft_c2r, aten._fft_c2c}


class Counter(TorchDispatchMode):
    """Counts everything that runs inside: ``flops``, ``bytes`` and ``calls``.

    Matrix products and convolutions by their formulas, sorts and Fourier transforms as n log n, everything else as one
    operation for each element of its largest operand; views are free.

    >>> with Counter() as count:
    ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> count.flops
    66
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.bytes, self.calls = 0, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func in FREE or func.is_view:
            return out
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        self.calls += 1
        self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        packet = func.overloadpacket
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=out)
        elif packet is aten._scaled_dot_product_flash_attention_for_cpu:
            q, k, v = args[:3]
            self.flops += 2 * q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * (q.shape[3] + v.shape[3])
        else:
            size = max((t.numel() for t in tensors), default=0)
            self.flops += int(size * math.log2(max(size, 2))) if packet in SORTS else size
        return out


def counted(run: Callable[[], Any]) -> Counter:
    """The work of one call without gradients."""
    count = Counter()
    with torch.no_grad(), count:
        run()
    return count


def exponent(first: float, second: float, ratio: float = 2.0) -> float:
    """The power with which work grew from ``first`` to ``second`` as the length grew by ``ratio``.

    >>> exponent(10, 40)
    2.0
    """
    return math.log(second / first) / math.log(ratio)
