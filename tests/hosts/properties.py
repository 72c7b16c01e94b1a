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


def main_output(output: Any) -> Tensor:
    for name in ("logits", "logits_per_image", "last_hidden_state"):
        if output.get(name) is not None:
            return output[name]
    raise AssertionError(f"no output to compare among {list(output)}")


def close(found: Tensor, wanted: Tensor, what: str) -> None:
    scale = wanted.detach().abs().max().clamp(min=1.0)
    error = float((found.detach().double() - wanted.detach().double()).abs().max() / scale)
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


def alone(value: Tensor, case: Case, sample: int, cut: slice) -> Tensor:
    """One sample of an input; token inputs lose their padding."""
    rows = value.shape[0] // BATCH
    one = value[sample * rows : (sample + 1) * rows]
    long = case.inputs["input_ids"].shape[1]
    return one[:, cut] if one.dim() >= 2 and one.shape[1] == long and value.dtype != torch.float32 else one


def padded(case: Case, side: str) -> tuple[dict[str, Tensor], list[slice]]:
    """The inputs with the text of sample 1 cut short and padded, and which tokens are real in each sample."""
    inputs = dict(case.inputs)
    length = inputs["input_ids"].shape[1]
    real = [slice(0, length), slice(2, length) if side == "left" else slice(0, length - 2)]
    keep = torch.zeros(BATCH, length, dtype=torch.bool)
    for sample, cut in enumerate(real):
        keep[sample, cut] = True
    inputs["input_ids"] = inputs["input_ids"].where(keep, 0)
    inputs["attention_mask"] = keep.long()
    return inputs, real


def positions(case: Case, mask: Tensor) -> dict[str, Tensor]:
    """Positions that start at the first real token, where the model does not find them itself."""
    if case.architecture.kind == "decoder" and case.name != "opt":
        return {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    return {}


def padding(case: Case) -> None:
    """A batch with padding, edited, gives each sample what it gets alone."""
    lm = attach(case.model)
    for side in case.architecture.sides:
        inputs, real = padded(case, side)
        length = inputs["input_ids"].shape[1]
        member = torch.zeros(BATCH, length, dtype=torch.bool)
        for sample, cut in enumerate(real):
            member[sample, cut.start + 3 : cut.start + 5] = True
        together = run_steered(lm, {**inputs, **positions(case, inputs["attention_mask"])}, sc.Spans({"a": member}))
        for sample, cut in enumerate(real):
            one = {name: alone(value, case, sample, cut) for name, value in inputs.items()}
            by_itself = run_steered(lm, one, sc.Spans({"a": member[sample : sample + 1, cut]}))
            for name in by_itself:
                found = together[name][sample : sample + 1]
                found = found[:, cut] if found.dim() == 3 and found.shape[1] == length else found
                close(found, by_itself[name], f"{name} of sample {sample}, padded {side},")


def run_steered(lm: TransformersHost, inputs: dict[str, Tensor], spans: sc.Spans) -> dict[str, Tensor]:
    """Outputs under an edit, and the masses of the first main site."""
    with torch.no_grad(), lm.steer(sc.Scale("a", 4.0), spans=spans):
        output = lm(**inputs)
    if "text_model_output" in output:
        return {"last_hidden_state": output["text_model_output"].last_hidden_state}
    wanted = ("logits", "last_hidden_state", "encoder_last_hidden_state")
    return {name: output[name] for name in wanted if isinstance(output.get(name), Tensor)}


def generation(case: Case) -> None:
    """Greedy decoding with an edit and a cache gives what it gives without a cache, step by step."""
    lm = attach(case.model)
    spans = spans_for(case, lm)
    inputs = {name: value for name, value in case.inputs.items() if name != "decoder_input_ids"}
    options = {"max_new_tokens": 5, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    results = {}
    for use_cache in (True, False):
        with lm.steer(sc.Scale("a", 4.0), sc.Bias("generated", 0.7), spans=spans) as effect:
            out = lm.generate(**inputs, **options, use_cache=use_cache)
        results[use_cache] = torch.stack(out.logits, dim=1)
        assert all(edit.rows for edit in effect)
    plain = torch.stack(case.model.generate(**inputs, **options).logits, dim=1)
    close(results[True], results[False], "logits with a cache")
    different(results[True][:, 0], plain[:, 0], "the edit while generating")


PROPERTIES = {
    "idle": idle,
    "watch": watch,
    "bias": bias,
    "ablation": ablation,
    "reallocate": reallocate,
    "padding": padding,
    "generation": generation,
}
