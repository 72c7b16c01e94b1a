"""Hosting any torch module whose code calls ``torch.nn.functional.scaled_dot_product_attention``.

While a context is open, a :class:`torch.overrides.TorchFunctionMode` of the calling thread sees every such call;
forward hooks on the sites say which module it came from. ``nn.MultiheadAttention`` is seen through its inner call.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from saccade.core.errors import HostError
from saccade.core.sites import Site

from .axes import Place
from .base import Host
from .call import Call
from .code import CROSS, forward_code, heads_of, names_in
from .session import Frame, open_hosts

CALLS = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})
DEPTH = 3

_inside: ContextVar[tuple[nn.Module, ...]] = ContextVar("saccade_inside", default=())

# The body of multi_head_attention_forward without its own check for overrides, so that the calls in it are seen.
_multi_head_attention = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**F.multi_head_attention_forward.__globals__, "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


class TorchHost(Host):
    """An attached torch module; see :class:`saccade.hosts.base.Host`. Sites have their module paths as names.

    All sites share the axis ``main``, which plain spans are about. Where the model attends over other tokens as well
    (cross-attention, pooled stages), give spans by site: ``spans={"decoder.*.multihead_attn": spans}``.

    Args:
        model: the module.

    Raises:
        HostError: no submodule's code calls ``scaled_dot_product_attention``.
    """

    main = "main"

    def __init__(self, model: nn.Module) -> None:
        modules = {path: module for path, module in model.named_modules() if calls_attention(module)}
        if not modules:
            raise HostError(
                f"{type(model).__name__} has no attention that Saccade can find: no forward() in it calls "
                "torch.nn.functional.scaled_dot_product_attention."
            )
        count: Counter[str] = Counter()
        sites = []
        for path, module in modules.items():
            kind = "cross" if CROSS.search(path) else "self"
            heads, kv_heads = heads_of(module)
            site = Site(path, count[kind], kind, heads, kv_heads, "main", path, kind == "self")
            sites.append((site, module))
            count[kind] += 1
        super().__init__(model, sites)
        self._lock = threading.RLock()
        self._users = 0
        self._handles: list[RemovableHandle] = []

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Run the module."""
        return self.model(*inputs, **named)

    def _activate(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                for _, module in self._modules.values():
                    self._handles.append(module.register_forward_pre_hook(_enter))
                    self._handles.append(module.register_forward_hook(_leave, always_call=True))

    def _deactivate(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                while self._handles:
                    self._handles.pop().remove()

    @contextmanager
    def _open(self, frame: Frame) -> Iterator[None]:
        with super()._open(frame), _Mode():
            yield


def attach(model: nn.Module) -> TorchHost:
    """Attach any module whose code calls ``scaled_dot_product_attention``."""
    return TorchHost(model)


def calls_attention(module: nn.Module) -> bool:
    """Whether the code of a module's ``forward``, or a function that it calls, mentions torch's attention."""
    code, scope = forward_code(module)
    return _mentions(code, scope, type(module), DEPTH)


def _mentions(code: CodeType, scope: dict[str, Any], owner: type, depth: int) -> bool:
    names = names_in(code)
    if names & CALLS:
        return True
    if depth == 0:
        return False
    helpers = [helper for name in names if isinstance(helper := scope.get(name, vars_of(owner, name)), FunctionType)]
    return any(_mentions(helper.__code__, helper.__globals__, owner, depth - 1) for helper in helpers)


def vars_of(owner: type, name: str) -> Any:
    """A method of ``owner`` as a plain function; methods of ``nn.Module`` itself do not count."""
    return None if hasattr(nn.Module, name) else getattr(owner, name, None)


class _Mode(TorchFunctionMode):
    """Sends calls of attention that come from a site to the engine."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:
                return _multi_head_attention(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            values = _attention(*args, **kwargs)
            if values is not None:
                return values
        return func(*args, **kwargs)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """The engine's answer to a call of torch's attention, None if no open context concerns it."""
    stack = _inside.get()
    if not stack:
        return None
    for host in open_hosts():
        if not isinstance(host, TorchHost) or host.site_of(stack[-1]) is None:
            continue
        q, k, v = (tensor.reshape(-1, *_last(tensor)) for tensor in (query, key, value))
        site = host._learn(stack[-1], q.shape[1], k.shape[1])
        if is_causal and q.shape[2] < k.shape[2]:
            k, v = k[:, :, : q.shape[2]], v[:, :, : q.shape[2]]
        elif is_causal and q.shape[2] > k.shape[2]:
            attn_mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
            is_causal = False
        mask = None if attn_mask is None else _four(attn_mask, query.dim())
        call = Call(site, q, k, v, is_causal, mask, scale, dropout=dropout_p)
        place = Place(0, k.shape[2], q.shape[2], k.shape[2], q.shape[0], grows=False, device=q.device)
        applied = host._apply(call, place)
        if applied is not None:
            return applied[0].reshape(*query.shape[:-1], value.shape[-1])
    return None


def _last(tensor: Tensor) -> tuple[int, int, int]:
    """Heads, length and width of a tensor ``[..., heads, length, width]``; without heads there is one."""
    return (tensor.shape[-3] if tensor.dim() > 3 else 1, tensor.shape[-2], tensor.shape[-1])


def _four(mask: Tensor, dims: int) -> Tensor:
    """A mask with four dimensions, for a query of ``dims`` dimensions."""
    if dims == 3 and mask.dim() == 3:
        return mask.unsqueeze(1)
    while mask.dim() < 4:
        mask = mask.unsqueeze(0)
    return mask.reshape(-1, *mask.shape[-3:])


def _enter(module: nn.Module, *_: Any) -> None:
    _inside.set((*_inside.get(), module))


def _leave(module: nn.Module, *_: Any) -> None:
    _inside.set(_inside.get()[:-1])
