"""A tokenised prompt together with its spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from saccade.core.errors import PromptError
from saccade.core.spans import Spans

from .markup import Range


@dataclass(frozen=True)
class Partial:
    """A token that belongs to a span but also stands for characters outside it."""

    sample: int
    span: str
    position: int
    token: str
    text: str
    outside: str


@dataclass(frozen=True)
class Cut:
    """A span that ``max_length`` shortened: ``lost`` of its tokens are gone, ``kept`` remain."""

    sample: int
    span: str
    kept: int
    lost: int


@dataclass(frozen=True, eq=False)
class Prompt:
    """What :func:`~saccade.prompt.encode` returns. B prompts, padded to K tokens.

    Attributes:
        inputs: everything the tokenizer gives a model (``input_ids``, ``attention_mask``, ``token_type_ids`` ...), each
            ``[B, K]``: ``model(**prompt.inputs)``.
        spans: boolean membership ``[B, K]`` by name; padding belongs to no span.
        plain: the text of each sample as tokenised: without markup, chats as rendered.
        tokens: the token strings of each sample, K of them, padding included.
        offsets: for each of these the half-open range of characters of ``plain``, ``(0, 0)`` where it stands for none.
        partial: tokens on the edge of a span, which are included though they stand for characters outside it too.
        cut: spans that truncation shortened.
        absent: spans that some samples do not have, with the numbers of these samples.
    """

    inputs: Mapping[str, Tensor]
    spans: Spans
    plain: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    offsets: tuple[tuple[Range, ...], ...]
    partial: tuple[Partial, ...] = ()
    cut: tuple[Cut, ...] = ()
    absent: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def input_ids(self) -> Tensor:
        """Token ids ``[B, K]``."""
        return self.inputs["input_ids"]

    @property
    def attention_mask(self) -> Tensor:
        """1 for tokens, 0 for padding, ``[B, K]``."""
        return self.inputs["attention_mask"]

    @property
    def text(self) -> str:
        """The plain text of a single prompt."""
        if len(self.plain) > 1:
            raise PromptError(f"this is a batch of {len(self.plain)} prompts: read prompt.plain[sample].")
        return self.plain[0]

    def __len__(self) -> int:
        return len(self.plain)

    def tokens_of(self, name: str, sample: int = 0) -> tuple[str, ...]:
        """The token strings of a span."""
        member = self.spans[name][sample].tolist()
        return tuple(token for token, inside in zip(self.tokens[sample], member, strict=True) if inside)

    def with_spans(self, members: Mapping[str, Tensor]) -> Prompt:
        """The same prompt with further spans, each boolean ``[B, K]`` or ``[K]`` (of :func:`~saccade.prompt.region`, "
        "say)."""
        return replace(
            self, spans=self.spans | Spans({name: member.expand(len(self), -1) for name, member in members.items()})
        )

    def to(self, device: torch.device | str) -> Prompt:
        """The same prompt with its tensors on another device."""
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, spans=self.spans.to(device))

    def __str__(self) -> str:
        lines = [f"{len(self)} prompt(s), {self.input_ids.shape[1]} tokens"]
        for sample in range(len(self)):
            for name in self.spans.names:
                tokens = self.tokens_of(name, sample)
                shown = " ".join(tokens[:12]) + (" ..." if len(tokens) > 12 else "")
                lines.append(f"  [{sample}] {name}: {len(tokens)} token(s): {shown}")
        lines += [
            f"  [{one.sample}] token {one.token!r} of {one.span!r} also stands for {one.outside!r}"
            for one in self.partial
        ]
        lines += [f"  [{one.sample}] {one.span!r} lost {one.lost} of {one.kept + one.lost} tokens" for one in self.cut]
        return "\n".join(lines)
