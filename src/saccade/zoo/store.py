"""Where the shipped models lie, and how they are loaded without a network."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from saccade.zoo.recipe import ZooError

MODELS = Path(str(files("saccade.zoo"))) / "models"


def names() -> tuple[str, ...]:
    """Names of the models that this installation ships."""
    return tuple(sorted(p.parent.name for p in MODELS.glob("*/config.json")))


def path(name: str, checkpoint: int | None = None) -> Path:
    """The folder of a shipped model, or of one of its training checkpoints, in Hugging Face format."""
    if name not in names():
        raise ZooError(f"no model is named {name!r}; there are {', '.join(names()) or 'none'}")
    if checkpoint is None:
        return MODELS / name
    found = sorted((MODELS / name / "checkpoints").glob("*/config.json"))
    if not 0 <= checkpoint < len(found):
        raise ZooError(f"{name} has {len(found)} checkpoints, counted from 0; found {checkpoint}")
    return found[checkpoint].parent


def load(name: str, checkpoint: int | None = None, dtype: str = "float32") -> tuple[Any, Any]:
    """A shipped model, in evaluation mode, and its tokenizer; needs no network.

    Weights are stored in bfloat16 and computed in `dtype`. `checkpoint` picks one of the states kept while training
    (`copier` has 20).
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = path(name, checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(path(name), local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return model.eval(), tokenizer
