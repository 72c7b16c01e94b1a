"""The properties that every architecture is tested for. Each raises AssertionError where it does not hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import saccade as sc
from saccade.hosts.transformers import TransformersHost, attach

from .architectures import BATCH, Case, build
from .oracle import eager_weights, oracle

TOLERANCE = 1e-5


class Missing(Exception):
    """The property makes no sense for the architecture."""


def main_output(output: Any) -> Tensor:
    for name in ("logits", "logits_per_image", "last_hidden_state"):
        if output.get(name) is not None:
            return output[name]
    raise AssertionError(f"no output to compare among {list(output)}")


def close(found: Tensor, wanted: Tensor, what: str) -> None:
    scale = wanted.abs().max().clamp(min=1.0)
    error = float((found.double() - wanted.double()).abs().max() / scale)
    assert error <= TOLERANCE, f"{what} differs by {error:.1e}"


def different(found: Tensor, wanted: Tensor, what: str) -> None:
    assert float((found - wanted).abs().max()) > 1e-4, f"{what} changed nothing"


def plain_run(case: Case, **inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return main_output(case.model(**{**case.inputs, **inputs}))


def key_lengths(case: Case) -> dict[str, int]:
    """Number of keys at each attention module, found by running the oracle."""
    seen: dict[str, int] = {}

    def note(path: str, weights: Tensor) -> Tensor:
        seen[path] = weights.shape[-1] - (1 if hasattr(case.model.get_submodule(path), "sinks") else 0)
        return weights

    with oracle(case.model, weights=note):
        plain_run(case)
    return seen


def main_sites(lm: TransformersHost) -> list[sc.Site]:
    """Sites that plain spans are about."""
    kinds = {"self", "cross"} if lm.encoder_decoder else {"self"}
    stacks = {"encoder": {("encoder", "self"), ("decoder", "cross")}}.get(lm.main, {(lm.main, kind) for kind in kinds})
    return [site for site in lm.sites if (site.stack, site.kind) in stacks]


def spans_for(case: Case, lm: TransformersHost) -> sc.Spans:
    """Two spans, elsewhere in each sample."""
    length = key_lengths(case)[main_sites(lm)[0].path]
    a, b = torch.zeros(BATCH, length, dtype=torch.bool), torch.zeros(BATCH, length, dtype=torch.bool)
    a[0, 1:3], a[1, 2:5], b[0, length - 3 :], b[1, :2] = True, True, True, True
    if case.name == "swin":
        a, b = a[:1], b[:1]
    return sc.Spans({"a": a, "b": b})


def idle(case: Case) -> None:
    """The output is bitwise the same before, while and after being attached, and outside contexts."""
    before = plain_run(case)
    implementation = case.model.config._attn_implementation
    lm = attach(case.model)
    assert torch.equal(plain_run(case), before)
    with lm.watch(sc.Entropy()):
        plain_run(case)
    assert case.model.config._attn_implementation == implementation
    assert torch.equal(plain_run(case), before)
    lm.detach()
    assert torch.equal(plain_run(case), before)


def watch(case: Case) -> None:
    """Masses and entropies equal those of the model's own eager weights, at every site."""
    eager = build(case.name, "eager")
    with eager_weights(eager.model) as weights:
        plain_run(eager)
    lm = attach(case.model)
    spans = spans_for(case, lm)
    wanted_output = plain_run(case)
    with torch.no_grad(), lm.watch(sc.Mass(spans=("a", "b")), sc.Entropy(), spans=spans) as seen:
        output = main_output(lm(**case.inputs))
    close(output, wanted_output, "output under watch")
    assert set(seen["entropy"].sites) == {site.name for site in lm.sites}
    for site in lm.sites:
        own = weights[site.path]
        entropy = torch.cat([-torch.xlogy(call, call).sum(-1) for call in own], dim=2)
        close(seen["entropy"].site(site.name), entropy, f"entropy at {site.name}")
        assert (own[0].shape[1], site.heads % site.kv_heads) == (site.heads, 0)
    for site in main_sites(lm):
        members = torch.stack([spans["a"], spans["b"]], dim=-1).float()[:, None]
        mass = torch.cat([call @ members.expand(call.shape[0], -1, -1, -1) for call in weights[site.path]], dim=2)
        close(seen["mass"].site(site.name), mass, f"mass at {site.name}")


def bias(case: Case) -> None:
    """Adding to the logits of a span, on all heads of every site that has it."""
    lm = attach(case.model)
    spans = spans_for(case, lm)
    paths = {site.path for site in main_sites(lm)}

    def edit(path: str, logits: Tensor) -> Tensor:
        return logits + 1.5 * spans["a"].double()[:, None, None] if path in paths else logits

    with oracle(case.model, logits=edit):
        wanted = plain_run(case)
    with torch.no_grad(), lm.steer(sc.Bias("a", 1.5), spans=spans) as effect:
        found = main_output(lm(**case.inputs))
    close(found, wanted, "bias edit")
    different(found, plain_run(case), "bias edit")
    assert effect[0].before < effect[0].after


def ablation(case: Case) -> None:
    """Zeroing one head of one site before the output projection."""
    lm = attach(case.model)
    target = main_sites(lm)[-1]

    def edit(path: str, heads: Tensor) -> Tensor:
        if path != target.path:
            return heads
        kept = torch.ones(heads.shape[1], dtype=heads.dtype)
        kept[1] = 0
        return heads * kept[:, None, None]

    with oracle(case.model, output=edit):
        wanted = plain_run(case)
    with torch.no_grad(), lm.steer(sc.ScaleHeads(0.0, at={target.name: [1]})):
        found = main_output(lm(**case.inputs))
    close(found, wanted, "head ablation")
    different(found, plain_run(case), "head ablation")


def reallocate(case: Case) -> None:
    """A two-pass edit: the mass on a span becomes its square root."""
    lm = attach(case.model)
    spans = spans_for(case, lm)
    paths = {site.path for site in main_sites(lm)}

    def edit(path: str, weights: Tensor) -> Tensor:
        if path not in paths:
            return weights
        inside = torch.nn.functional.pad(spans["a"], (0, weights.shape[-1] - spans.length))[:, None, None]
        mass = (weights * inside).sum(-1, keepdim=True)
        rest = (weights * ~inside).sum(-1, keepdim=True)
        wanted = mass.sqrt()
        moved = weights * torch.where(inside, wanted / mass.clamp(min=1e-300), (1 - wanted) / rest.clamp(min=1e-300))
        return torch.where((mass > 0) & (rest > 0), moved, weights)

    with oracle(case.model, weights=edit):
        wanted = plain_run(case)
    with torch.no_grad(), lm.steer(sc.Reallocate(torch.sqrt, spans=("a",)), spans=spans):
        found = main_output(lm(**case.inputs))
    close(found, wanted, "two-pass edit")
    different(found, plain_run(case), "two-pass edit")


PROPERTIES = {"idle": idle, "watch": watch, "bias": bias, "ablation": ablation, "reallocate": reallocate}
