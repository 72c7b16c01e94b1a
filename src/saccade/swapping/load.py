"""Loading a model that was saved with swapped layers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, logging
from transformers.utils.hub import cached_file

from saccade.core.errors import HostError

from .build import Wanted
from .places import CHILD, Instead, placed_in
from .swap import RECORD, install, sites_of

SOURCE = ("revision", "cache_dir", "token", "local_files_only")
"""Options of ``from_pretrained`` that say where a model lies."""


def load_swapped(folder: str | Path, cls: Any = None, **options: Any) -> Any:
    """Load a model that was saved by ``save_pretrained`` after a swap, mechanisms and what they learned included.

    Args:
        folder: the folder, or an id on the hub.
        cls: a transformers class to load with; by default the one that the model was saved as.
        options: passed on to ``from_pretrained`` (``dtype``, ``device_map``, ``revision`` ...).

    Returns:
        The model, in evaluation mode. Layers that hold a mechanism behind their own projections can be undone with
        ``swap(model, None)``; where a mechanism replaced the whole module, the replaced weights were not saved.

    Raises:
        HostError: nothing was swapped in the model, or a learned part is missing.
    """
    source: dict[str, Any] = {
        name: options[name] for name in ("revision", "cache_dir", "token", "local_files_only") if name in options
    }
    config = transformers.AutoConfig.from_pretrained(folder, **source)
    record = getattr(config, RECORD, None)
    if not record:
        raise HostError(f"{folder} has no swapped layers; load it with from_pretrained.")
    names = getattr(config, "architectures", None) or []
    cls = cls or (getattr(transformers, names[0], None) if names else None)
    if cls is None:
        raise HostError(f"{folder} does not say which class it was saved as; give cls=.")
    with _quiet():
        model = cls.from_pretrained(folder, config=config, **options)
    install(model, sites_of(model), {name: Wanted.from_entry(entry) for name, entry in record.items()}, loading=True)
    saved = _Saved(folder, source)
    for place in placed_in(model).values():
        own = place.mechanism.state_dict()
        if isinstance(place, Instead):
            place.original = None
        place.mechanism.load_state_dict({n: saved.read(f"{place.site.path}.{CHILD}.{n}") for n in own})
    return model.eval()


class _Saved:
    """Tensors of a saved model, by name."""

    def __init__(self, folder: str | Path, source: dict[str, Any]) -> None:
        index = cached_file(folder, SAFE_WEIGHTS_INDEX_NAME, _raise_exceptions_for_missing_entries=False, **source)
        if index is not None:
            parts: dict[str, str] = json.loads(Path(index).read_text("utf-8"))["weight_map"]
            files = {part: str(cached_file(folder, part, **source)) for part in set(parts.values())}
            self.files = {name: files[part] for name, part in parts.items()}
        else:
            file = str(cached_file(folder, SAFE_WEIGHTS_NAME, **source))
            with safe_open(file, framework="pt") as tensors:
                self.files = dict.fromkeys(tensors.keys(), file)

    def read(self, name: str) -> Tensor:
        """The tensor of that name, with more or fewer names of outer models before it."""
        fitting = [one for one in self.files if one == name or one.endswith(f".{name}") or name.endswith(f".{one}")]
        if len(fitting) != 1:
            raise HostError(f"the saved model holds {len(fitting)} tensors for {name}; it should hold one.")
        with safe_open(self.files[fitting[0]], framework="pt") as tensors:
            found: Tensor = tensors.get_tensor(fitting[0])
        return found


@contextmanager
def _quiet() -> Iterator[None]:
    """No report of the tensors that ``from_pretrained`` leaves to the mechanisms."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with torch.no_grad():
            yield
    finally:
        logging.set_verbosity(level)
