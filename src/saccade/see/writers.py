"""What a head can read and write: the linear maps around attention, found by what they do, in any architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saccade.core.errors import HostError

from .trace import run

if TYPE_CHECKING:
    from saccade.hosts import Host
    from saccade.hosts.operator import Operator

PROBES = 16
"""Tokens on which projections are recognised."""


@dataclass(frozen=True, eq=False)
class Writer:
    """The output projection of a site, by query head.

    Attributes:
        weight: ``[Hq, Dv, dim]``, float32; head h writes ``z_h @ weight[h]``.
        bias: ``[dim]``, which belongs to no head.
        module: path of the module.
    """

    weight: Tensor
    bias: Tensor
    module: str


@dataclass(frozen=True, eq=False)
class Projections:
    """The maps of a site from its (normalised) input to queries, keys and values, and from heads to the output.

    Attributes:
        q: ``[Hq, dim, D]`` and its bias ``q_bias [Hq, D]``, before any rotation.
        k: ``[Hkv, dim, D]``, ``k_bias [Hkv, D]``.
        v: ``[Hkv, dim, Dv]``, ``v_bias [Hkv, Dv]``.
        writer: the output projection.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    q_bias: Tensor
    k_bias: Tensor
    v_bias: Tensor
    writer: Writer

    def ov(self, head: int) -> Tensor:
        """What head ``head`` writes for what it reads: ``W_V W_O``, ``[dim, dim]``, rows in, columns out."""
        return self.v[head // (len(self.q) // len(self.v))] @ self.writer.weight[head]

    def qk(self, head: int) -> Tensor:
        """The bilinear form of a head's logits without positions: ``W_Q W_K^T``, ``[dim, dim]``, rows are queries."""
        return self.q[head] @ self.k[head // (len(self.q) // len(self.k))].T


@torch.no_grad()
def writers(
    lm: Host, prompt: Any = None, *, sites: str | Sequence[str] | None = None, **inputs: Any
) -> dict[str, Writer]:
    """The output projection of each site that a run calls: the module that is given the values of attention.

    A model is run once; the first linear module that gets a site's values (heads side by side) is its writer. This
    needs no names, so it holds for ``o_proj``, ``c_proj`` and BERT's ``output.dense`` alike.

    Raises:
        HostError: no linear module reads the values of a site.
    """
    pending: dict[str, Tensor] = {}
    found: dict[str, Writer] = {}

    def keep(operator: Operator, values: Tensor) -> Tensor:
        pending[operator.site.name] = values
        return values

    def check(path: str, module: nn.Module, given: Tensor) -> None:
        for name, values in list(pending.items()):
            batch, heads, length, width = values.shape
            if given.shape[-1] != heads * width or given.numel() != values.numel():
                continue
            if torch.equal(given.reshape(batch, length, heads, width), values.transpose(1, 2)):
                weight, bias = _matrix(module, given)
                found[name] = Writer(weight.view(heads, width, -1), bias, path)
                del pending[name]

    handles = [
        module.register_forward_pre_hook(lambda m, args, path=path: check(path, m, args[0]) if _is(args) else None)
        for path, module in lm.model.named_modules()
        if _linear(module)
    ]
    try:
        with lm.tap(keep, sites):
            run(lm, prompt, **inputs)
    finally:
        for handle in handles:
            handle.remove()
    if pending:
        raise HostError(f"no linear module reads the values of {list(pending)}: their output projection is unknown.")
    return found


@torch.no_grad()
def projections(lm: Host, *, sites: str | Sequence[str] | None = None, seed: int = 0) -> dict[str, Projections]:
    """The maps of every self-attention site of a model that reads tokens, from one forward pass over single tokens.

    At the first position a rotary embedding turns nothing, so queries, keys and values of one-token inputs are outputs
    of linear modules inside the site: each channel is recognised by its values. Fused and interleaved projections are
    told apart the same way.

    Raises:
        HostError: a channel is no output of a linear module there, as with norms on queries and keys.
    """
    vocabulary = lm.model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(vocabulary, (PROBES, 1), generator=draw).to(lm.model.device)  # type: ignore[arg-type]
    calls: dict[str, Operator] = {}
    outputs: dict[str, list[tuple[nn.Module, Tensor, Tensor]]] = {}
    owners = {site.name: site.path for site in lm.sites}

    def keep(operator: Operator, values: Tensor) -> Tensor:
        calls[operator.site.name] = operator
        return values

    def note(path: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        for name, owner in owners.items():
            if path.startswith(f"{owner}."):
                outputs.setdefault(name, []).append((module, given, output))

    handles = [
        module.register_forward_hook(lambda m, args, out, path=path: note(path, m, args[0], out) if _is(args) else None)
        for path, module in lm.model.named_modules()
        if _linear(module)
    ]
    try:
        with lm.tap(keep, sites):
            run(lm, input_ids=tokens)
    finally:
        for handle in handles:
            handle.remove()
    written = writers(lm, sites=list(calls), input_ids=tokens)
    return {
        name: _projections(name, operator, outputs.get(name, []), written[name])
        for name, operator in calls.items()
        if operator.site.kind == "self"
    }


def _projections(
    name: str, operator: Operator, outputs: list[tuple[nn.Module, Tensor, Tensor]], writer: Writer
) -> Projections:
    weights, biases, columns = [], [], []
    for module, given, output in outputs:
        weight, bias = _matrix(module, given)
        weights.append(weight)
        biases.append(bias)
        columns.append(output.reshape(PROBES, -1))
    if not columns:
        raise HostError(f"{name}: there is no linear module inside the attention module.")
    width = weights[0].shape[0]
    same = [index for index, weight in enumerate(weights) if weight.shape[0] == width]
    channels = torch.cat([columns[index] for index in same], 1).float()
    weight, bias = torch.cat([weights[i] for i in same], 1), torch.cat([biases[i] for i in same])
    parts = []
    for what, tensor in (("queries", operator.call.q), ("keys", operator.call.k), ("values", operator.call.v)):
        heads, size = tensor.shape[1], tensor.shape[3]
        wanted = tensor[:, :, 0].reshape(PROBES, -1).float()
        distance = torch.cdist(wanted.T, channels.T, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.min(1)
        if bool((nearest.values > 1e-3 * wanted.norm(dim=0).clamp_min(1e-6)).any()):
            raise HostError(
                f"{name}: its {what} are no plain linear map of its input; their parameters say too little."
            )
        parts.append((weight[:, nearest.indices].view(-1, heads, size).movedim(0, 1), bias[nearest.indices]))
        parts[-1] = (parts[-1][0], parts[-1][1].view(heads, size))
    (q, q_bias), (k, k_bias), (v, v_bias) = parts
    return Projections(q, k, v, q_bias, k_bias, v_bias, writer)


def _linear(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and not isinstance(module, nn.Embedding)


def _is(args: tuple[Any, ...]) -> bool:
    return bool(args) and isinstance(args[0], Tensor) and args[0].is_floating_point()


def _matrix(module: Any, given: Tensor) -> tuple[Tensor, Tensor]:
    """Weight ``[in, out]`` and bias ``[out]`` of a linear module, whichever way round it keeps them, in float32."""
    weight = module.weight.detach().float()
    bias = getattr(module, "bias", None)
    shift = weight.new_zeros(()) if bias is None else bias.detach().float()
    if weight.shape[0] == weight.shape[1]:
        probe = torch.ones_like(given.reshape(-1, given.shape[-1])[:1]).cumsum(-1)
        out, probe = module.forward(probe).float(), probe.float()
        miss = [float((probe @ one + shift - out).norm()) for one in (weight, weight.T)]
        weight = weight if miss[0] < miss[1] else weight.T
    elif weight.shape[0] != given.shape[-1]:
        weight = weight.T
    return weight, shift.expand(weight.shape[1])
