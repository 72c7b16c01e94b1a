"""One prompt of a batch: tokenised, its spans found, truncated."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from saccade.core.errors import PromptError

from .align import Encoding, tokenise
from .chat import render
from .markup import Range, parse
from .prompt import Cut, Partial
from .selectors import Absent, Found, Message, Role, Selector, Source, Special, as_selector
from .special import image_id, special_ids

RESERVED = {
    "generated": "the tokens that the model will produce",
    "image": "the image tokens",
    "bos": "the first special token",
    "prompt": "all tokens of the prompt",
}


@dataclass(frozen=True)
class Rules:
    """How to read prompts: the keyword arguments of :func:`~saccade.prompt.encode` that concern one prompt."""

    markup: bool
    automatic: bool
    optional: Collection[str] | bool
    max_length: int | None
    add_special_tokens: bool
    add_generation_prompt: bool | None
    image_token: str | None
    template: Mapping[str, Any]

    def may_miss(self, name: str) -> bool:
        """Whether a sample may lack the span ``name``."""
        return self.optional if isinstance(self.optional, bool) else name in self.optional


@dataclass(frozen=True)
class Sample:
    """One prompt, truncated but not padded.

    Attributes:
        text: the plain text.
        encoding: ids, offsets and further inputs.
        tokens: token strings.
        members: boolean membership of every token, by span.
        automatic: those of the spans that nobody asked for.
        partial, cut: as in :class:`~saccade.prompt.Prompt`, positions without padding.
    """

    text: str
    encoding: Encoding
    tokens: tuple[str, ...]
    members: Mapping[str, np.ndarray]
    automatic: frozenset[str]
    partial: tuple[Partial, ...]
    cut: tuple[Cut, ...]


@dataclass(frozen=True)
class _Given:
    """What the markup or the tokenizer has already located."""

    found: Found

    def locate(self, source: Source) -> Found:
        return self.found


@dataclass(frozen=True)
class _Read:
    """A prompt before its spans are looked up."""

    source: Source
    encoding: Encoding
    marked: Mapping[str, tuple[Range, ...]]
    add_special_tokens: bool


def read(tokenizer: Any, prompt: Any, selectors: Mapping[str, Any], rules: Rules, number: int) -> Sample:
    """Tokenise one prompt (text or messages) and find its spans; ``number`` is its place in the batch."""
    one = _text(tokenizer, prompt, rules) if isinstance(prompt, str) else _chat(tokenizer, prompt, rules)
    if not one.encoding.ids:
        raise PromptError("the prompt has no tokens; give it some text.")
    tokens = tuple(tokenizer.convert_ids_to_tokens(list(one.encoding.ids)))
    own = _own(one, selectors, rules)
    automatic = _automatic(tokenizer, one.source, rules) if rules.automatic else {}
    cores = _cores(one)
    members, partial = dict[str, np.ndarray](), list[Partial]()
    for name, parts in (own | automatic).items():
        try:
            found = [part.locate(one.source) for part in parts]
        except PromptError as error:
            if isinstance(error, Absent) and rules.may_miss(name):
                continue
            raise type(error)(f"span {name!r}: {error}") from None
        members[name], edges = _membership(found, one.source.text, cores)
        if not members[name].any():
            text = next(one.source.text[start:end] for place in found for start, end in place.ranges)
            raise PromptError(
                f"span {name!r}: no token stands for its text {text!r}: the tokenizer joins it to its neighbours or "
                f"drops it. "
                "Extend the span to visible characters."
            )
        partial += [
            Partial(number, name, at, tokens[at], one.source.text[slice(*one.encoding.offsets[at])], outside)
            for at, outside in edges
        ]
    kept = _kept(tokenizer, one, rules.max_length)
    cut = []
    for name, member in members.items():
        left = int(member[kept].sum())
        lost = int(member.sum()) - left
        if lost and not left and name in own:
            raise PromptError(
                f"span {name!r}: max_length={rules.max_length} cuts off all of its {lost} token(s); the prompt has "
                f"{len(tokens)}. "
                "Raise max_length, shorten the text, or set tokenizer.truncation_side to the other end."
            )
        if lost:
            cut.append(Cut(number, name, left, lost))
    place = {int(position): at for at, position in enumerate(kept)}
    return Sample(
        text=one.source.text,
        encoding=one.encoding.take(kept.tolist()),
        tokens=tuple(tokens[at] for at in kept),
        members={name: member[kept] for name, member in members.items()},
        automatic=frozenset(automatic),
        partial=tuple(replace(edge, position=place[edge.position]) for edge in partial if edge.position in place),
        cut=tuple(cut),
    )


def _text(tokenizer: Any, prompt: str, rules: Rules) -> _Read:
    if rules.template:
        raise PromptError(
            f"{sorted(rules.template)}: not arguments of encode, nor of a chat template, since the prompt is text."
        )
    plain, ranges = prompt, dict[str, tuple[Range, ...]]()
    if rules.markup:
        marked = parse(prompt)
        plain, ranges = marked.plain, dict(marked.ranges)
    encoding = tokenise(tokenizer, plain, rules.add_special_tokens)
    bos = tokenizer.bos_token_id
    if bos is not None and encoding.ids[:2] == (bos, bos) and encoding.added[0] and not encoding.added[1]:
        raise PromptError(
            f"the text begins with {tokenizer.bos_token!r} and the tokenizer adds another one: remove it from the "
            f"text, or pass "
            "add_special_tokens=False."
        )
    source = Source(plain, ((0, len(plain)),), encoding.ids, lambda token: special_ids(tokenizer, token))
    return _Read(source, encoding, ranges, rules.add_special_tokens)


def _chat(tokenizer: Any, messages: Sequence[Mapping[str, Any]], rules: Rules) -> _Read:
    settings = dict(rules.template)
    settings["add_generation_prompt"] = (
        messages[-1].get("role") != "assistant" and not settings.get("continue_final_message")
        if rules.add_generation_prompt is None
        else rules.add_generation_prompt
    )
    chat = render(tokenizer, messages, markup=rules.markup, **settings)
    encoding = tokenise(tokenizer, chat.plain, add_special_tokens=False)
    expected = tokenizer.apply_chat_template(chat.messages, tokenize=True, return_dict=True, **settings)["input_ids"]
    if list(encoding.ids) != list(expected):
        raise PromptError(
            "the token ids of the rendered chat differ from those of tokenizer.apply_chat_template, so spans would be "
            "displaced; "
            "render the chat yourself (tokenize=False) and pass it as text with add_special_tokens=False."
        )
    searched = tuple(place for turn in chat.turns for place in turn.ranges)
    source = Source(chat.plain, searched, encoding.ids, lambda token: special_ids(tokenizer, token), chat.turns)
    return _Read(source, encoding, chat.ranges, add_special_tokens=False)


def _own(one: _Read, selectors: Mapping[str, Any], rules: Rules) -> dict[str, tuple[Selector, ...]]:
    """The user's spans, those of the markup first."""
    roles = {turn.role for turn in one.source.turns} if rules.automatic else set()
    if taken := roles & set(RESERVED):
        raise PromptError(
            f"the chat has the role(s) {sorted(taken)}, which are names of other spans; pass automatic=False."
        )
    own: dict[str, tuple[Selector, ...]] = {name: (_Given(Found(ranges)),) for name, ranges in one.marked.items()}
    for name, selector in selectors.items():
        own[name] = (*own.get(name, ()), as_selector(selector))
    for name in own:
        if not isinstance(name, str) or not name:
            raise PromptError(f"a span's name must be a non-empty string, found {name!r}.")
        if name in RESERVED:
            raise PromptError(f"the name {name!r} is reserved for {RESERVED[name]}; choose another.")
        if re.fullmatch(r"message\.\d+", name):
            raise PromptError(f"the name {name!r} is reserved for the messages of a chat; choose another.")
        if name in roles:
            raise PromptError(
                f"the name {name!r} is the span of all {name} messages of this chat; choose another, or pass "
                f"automatic=False."
            )
    return own


def _automatic(tokenizer: Any, source: Source, rules: Rules) -> dict[str, tuple[Selector, ...]]:
    """The automatic spans that this prompt has."""
    spoken = [(index, turn) for index, turn in enumerate(source.turns) if turn.ranges]
    spans: dict[str, tuple[Selector, ...]] = {turn.role: (Role(turn.role),) for _, turn in spoken}
    spans |= {f"message.{index}": (Message(index),) for index, _ in spoken}
    image = image_id(tokenizer, rules.image_token)
    places = {"image": tuple(at for at, token in enumerate(source.ids) if token == image)}
    with suppress(Absent):
        places["bos"] = Special("bos").locate(source).positions
    return spans | {name: (_Given(Found(positions=at)),) for name, at in places.items() if at}


def _cores(one: _Read) -> np.ndarray:
    """Per token its range ``[tokens, 2]`` without the white space at its edges, unless it is all white space."""
    cores = np.array(one.encoding.offsets, dtype=np.int64).reshape(-1, 2)
    for position, (start, end) in enumerate(one.encoding.offsets):
        piece = one.source.text[start:end]
        core = piece.strip()
        if core and len(core) < len(piece):
            first = start + piece.index(core)
            cores[position] = first, first + len(core)
    return cores


def _membership(found: Sequence[Found], text: str, cores: np.ndarray) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Membership of every token, and the tokens that also stand for visible characters outside, with these."""
    inside = np.zeros(len(text) + 1, dtype=bool)
    for place in found:
        for start, end in place.ranges:
            inside[start:end] = True
    before = np.concatenate([[0], np.cumsum(inside)])
    starts, ends = cores.T
    covered = before[ends] - before[starts]
    enclosed = inside[starts] & inside[np.maximum(starts - 1, 0)] & (starts > 0)
    member = np.where(ends > starts, covered > 0, enclosed)
    edges = []
    for at in np.flatnonzero(member & (covered < ends - starts)):
        outside = "".join(text[index] for index in range(starts[at], ends[at]) if not inside[index])
        if not outside.isspace():
            edges.append((int(at), outside))
    member[[position for place in found for position in place.positions]] = True
    return member, edges


def _kept(tokenizer: Any, one: _Read, max_length: int | None) -> np.ndarray:
    """Positions that the tokenizer's own truncation keeps."""
    ids, added = one.encoding.ids, one.encoding.added
    everything = np.arange(len(ids))
    if max_length is None or len(ids) <= max_length:
        return everything
    settings = {"add_special_tokens": one.add_special_tokens, "truncation": True, "max_length": max_length}
    short = tuple(tokenizer(one.source.text, **settings)["input_ids"])
    leading = next((at for at, extra in enumerate(added) if not extra), len(added))
    trailing = next((at for at, extra in enumerate(reversed(added)) if not extra), len(added))
    at = leading if tokenizer.truncation_side == "left" else max(0, len(short) - trailing)
    kept = np.delete(everything, np.s_[at : at + len(ids) - len(short)])
    if len(short) > max_length or tuple(ids[position] for position in kept) != short:
        raise PromptError(
            f"the tokenizer cannot truncate {len(ids)} tokens to max_length={max_length}; raise it or shorten the text."
        )
    return kept
