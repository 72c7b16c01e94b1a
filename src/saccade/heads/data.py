"""What searches for heads read: batches of prompts, with answers or without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .headset import HeadError

if TYPE_CHECKING:
    from saccade.core.spans import Spans
    from saccade.hosts import Host


@dataclass(frozen=True, eq=False)
class Tokens:
    """Bare token ids ``[B, N]`` without padding, where a prompt of :meth:`lm.prompt` is expected."""

    input_ids: Tensor

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What the model is called with."""
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}

    @property
    def attention_mask(self) -> Tensor:
        """Ones ``[B, N]``."""
        return torch.ones_like(self.input_ids)

    @property
    def spans(self) -> None:
        """There are none."""
        return


def prompts(data: Any) -> Iterator[Any]:
    """The prompts of a search's data.

    Args:
        data: a sequence whose items are prompts of :meth:`lm.prompt`, batches ``(prompt, ...)``, or token ids
            ``[B, N]`` without padding; or a single one of these.
    """
    items = data if isinstance(data, Sequence) and not isinstance(data, tuple | str) else [data]
    if not len(items):
        raise HeadError("a search for heads needs data, found none: give prompts of lm.prompt(...).")
    for item in items:
        first = item[0] if isinstance(item, tuple) and item else item
        if isinstance(first, Tensor):
            if first.dim() != 2 or first.is_floating_point():
                raise HeadError(f"token ids are an integer tensor [B, N], found {first.dtype} {list(first.shape)}.")
            first = Tokens(first)
        if not hasattr(first, "inputs"):
            raise HeadError(
                f"a search for heads reads prompts of lm.prompt(...), batches (prompt, answers) or token ids [B, N]; "
                f"found {type(first).__name__}."
            )
        yield first


def spans_of(prompt: Any, *names: str) -> Spans:
    """The spans of a prompt, which must have these names."""
    there = prompt.spans.names if prompt.spans is not None else ()
    missing = [name for name in names if name not in there]
    if missing:
        raise HeadError(
            f"the search needs the span{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}; the prompt "
            f"has {list(there)}. Mark them with lm.prompt(..., spans=...), or name others in the options of the kind."
        )
    chosen: Spans = prompt.spans
    return chosen


def labelled(lm: Host, examples: Sequence[Any], *spans: str, batch: int = 32) -> list[tuple[Any, list[str]]]:
    """A labelled set (see :mod:`saccade.heads.scoring`) from examples of :mod:`saccade.tasks`.

    Args:
        lm: an attached model with a tokenizer. Conversations go through its chat template.
        examples: each with ``messages`` or a text ``prompt``, an ``answer``, and ``selectors``.
        spans: names of the spans to find; all by default.
        batch: samples of a batch. Samples of like length come together.

    Example:
        >>> import saccade as sc
        >>> from saccade import tasks, zoo
        >>> lm = sc.attach(*zoo.load("copier"))
        >>> task = tasks.get("algorithmic/induction", difficulty=1)
        >>> [(prompt, answers)] = labelled(lm, task.examples(3), "gold")
        >>> len(prompt), answers == [example.answer for example in task.examples(3)]
        (3, True)
    """
    if batch < 1:
        raise HeadError(f"a batch has at least one sample, found batch={batch}.")
    order = sorted(range(len(examples)), key=lambda i: sum(map(len, examples[i].contents)))
    found = []
    for start in range(0, len(order), batch):
        chosen = [examples[i] for i in order[start : start + batch]]
        prompt = lm.prompt(  # type: ignore[attr-defined]
            [example.messages if example.is_chat else example.prompt for example in chosen],
            spans=[example.selectors(*spans) for example in chosen],
            optional=True,
        )
        found.append((prompt, [example.answer for example in chosen]))
    return found


def repeats(lm: Host, rows: int = 32, length: int = 24, copies: int = 2, seed: int = 0) -> Tensor:
    """Segments of distinct random tokens, each written several times: ``[rows, bos + length * copies]``.

    The data of the prefix-matching score of Olsson et al. (paper 211), who take 25 to 100 tokens and 4 copies.

    Args:
        lm: an attached model; special tokens of its tokenizer are left out, and a beginning token comes first if the
            model has one.
        rows: sequences.
        length: tokens of a segment.
        copies: how often it is written.
        seed: the same seed gives the same tokens.
    """
    config = lm.model.config.get_text_config()  # type: ignore[union-attr, operator]
    tokenizer = getattr(lm, "tokenizer", None)
    special = set(tokenizer.all_special_ids) if tokenizer is not None else {config.bos_token_id}
    vocabulary = torch.tensor([token for token in range(config.vocab_size) if token not in special])
    if copies < 2 or not 0 < length <= len(vocabulary):
        raise HeadError(
            f"repeats need 2 copies at least of 1 to {len(vocabulary)} tokens, found {copies} copies of {length}."
        )
    draw = torch.Generator().manual_seed(seed)
    picked = torch.rand(rows, len(vocabulary), generator=draw).argsort(-1)[:, :length]
    line = vocabulary[picked].repeat(1, copies)
    bos = getattr(tokenizer, "bos_token_id", None)
    first = [] if bos is None else [torch.full((rows, 1), bos)]
    return torch.cat([*first, line], 1).to(lm.model.device)  # type: ignore[arg-type]
