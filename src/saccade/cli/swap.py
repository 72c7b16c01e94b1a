"""``saccade swap``: another mechanism in the place of a model's attention, saved for training."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from saccade.core.errors import HostError, MechanismError

from . import models, options
from .output import console, print_json, progress

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Swapped:
    """One layer.

    Attributes:
        site: its name.
        mechanism: what stands there now.
        positions: its position scheme, "model" for the model's own.
        learned: parameters of the mechanism.
        kept: whether the model's own projections still work before it.
    """

    site: str
    mechanism: str
    positions: str
    learned: int
    kept: bool


def swap(
    model: options.Model,
    mechanism: Annotated[str, typer.Option("--mechanism", "-m", help="A name of saccade.mechanisms.names().")],
    layer: Annotated[list[int] | None, typer.Option(help="Repeatable; all layers.", show_default=False)] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="name=value, of the mechanism. Repeatable.")
    ] = None,
    positions: Annotated[
        str | None, typer.Option(help="A position scheme in place of the model's rotary positions, or none.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the swapped model and its tokenizer.", show_default=False)
    ] = None,
    text: options.Text = None,
    file: options.File = None,
    device: options.Device = "cpu",
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Replace a model's attention by another mechanism. With a text: its loss before and after, without training.

    [dim]saccade swap ./my-model --mechanism hedgehog --layer 0 --layer 1 --save ./my-model-hedgehog[/dim]
    """
    import saccade as sc

    chosen = options_of(option or [])
    loaded, tokenizer = _load(model, device, dtype)
    words = None if text is None and file is None else models.text_of(text, file)
    inputs = None if words is None else tokenizer(words, return_tensors="pt").to(loaded.device)
    before = None if inputs is None else _loss(loaded, inputs)
    with progress(f"swapping {mechanism}"):
        sc.swap(loaded, mechanism, layer, positions=positions, **chosen)
    after = None if inputs is None else _loss(loaded, inputs)
    info = sc.mechanisms.info(mechanism)
    if save is not None:
        loaded.save_pretrained(save)
        tokenizer.save_pretrained(save)
    found = {
        "model": model,
        "mechanism": mechanism,
        "papers": list(info.papers),
        "summary": info.summary,
        "cost": info.cost,
        "decode": info.decode,
        "layers": [vars(one) for one in swapped_layers(loaded)],
        "loss": None if before is None else {"before": before, "after": after},
        "saved": None if save is None else str(save),
    }
    if json:
        print_json(found)
    else:
        _show(found)


def swapped_layers(model: Any) -> list[Swapped]:
    """What stands in the swapped layers of a model."""
    from saccade.swapping.places import Behind, placed_in

    return [
        Swapped(
            site=name,
            mechanism=place.entry["name"],
            positions=_positions(place),
            learned=sum(p.numel() for p in place.mechanism.parameters()),
            kept=isinstance(place, Behind),
        )
        for name, place in placed_in(model).items()
    ]


def _positions(place: Any) -> str:
    scheme: str = place.mechanism.position.info.name
    kept = not place.entry.get("still", True)
    return "model" if scheme == "none" and kept else scheme


def options_of(written: list[str]) -> dict[str, Any]:
    """Options from ``name=value``; values are Python literals, or words.

    Example:
        >>> options_of(["chunk=32", "by=average", "grid=(4, 4)"])
        {'chunk': 32, 'by': 'average', 'grid': (4, 4)}
    """
    found: dict[str, Any] = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not (equals and name.strip() and value):
            raise MechanismError(f"--option is name=value, for instance --option chunk=32; found {one!r}.")
        try:
            found[name.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name.strip()] = value
    return found


def _load(name: str, device: str, dtype: str) -> tuple[Any, Any]:
    """The model as the class that it was saved as, and its tokenizer."""
    where, kind = models.device_of(device), models.dtype_of(dtype)
    path = models.folder_of(name)
    import transformers

    with progress(f"loading {name}"), models.loading(name):
        config = transformers.AutoConfig.from_pretrained(path)
        cls = getattr(transformers, next(iter(config.architectures or ()), ""), transformers.AutoModel)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        model = models.pretrained(cls, path, config, kind).eval().to(where)
    return model, tokenizer


def _loss(model: Any, inputs: dict[str, Tensor]) -> float:
    """Mean next-token cross-entropy in nats."""
    import torch
    from torch.nn import functional as F

    ids = inputs["input_ids"]
    if not model.can_generate() or model.config.is_encoder_decoder:
        raise HostError("a text is for models that continue it; leave --text and --file out for this one.")
    if ids.shape[1] < 2:
        raise HostError("the text has fewer than two tokens, so there is no next one to foretell.")
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits[0, :-1].float()
    return float(F.cross_entropy(logits, ids[0, 1:]))


def _show(found: dict[str, Any]) -> None:
    out = console()
    decode = {"recurrent": "a state of constant size", "cache": "a cache", "none": "nothing: it scores whole sequences"}
    papers = f" (papers {', '.join(map(str, found['papers']))})" if found["papers"] else ""
    out.print(f"{found['mechanism']}{papers}: {found['summary']}", highlight=False, markup=False)
    out.print(f"cost n^{found['cost']:g}, decodes with {decode[found['decode']]}", highlight=False)
    table = Table("layer", "mechanism", "positions", "parameters of its own", "projections")
    for one in found["layers"]:
        projections = "the model's" if one["kept"] else "its own"
        positions = "the model's" if one["positions"] == "model" else one["positions"]
        table.add_row(one["site"], one["mechanism"], positions, f"{one['learned']:,}", projections)
    out.print(table)
    if found["loss"] is not None:
        before, after = found["loss"]["before"], found["loss"]["after"]
        out.print(f"loss on the text: {before:.3f} nats before, {after:.3f} after, untrained", highlight=False)
    if found["saved"] is not None:
        out.print(f"saved; load with saccade.load_swapped({found['saved']!r})", highlight=False, soft_wrap=True)
