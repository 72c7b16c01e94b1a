"""Chat messages rendered by the tokenizer's own template, with the place of every content proved.

A template may wrap, reorder, trim or rewrite contents. Each text is therefore rendered twice: as it is, and between two
private-use characters. Where both renderings agree but for those characters, and the text between them is the content
letter for letter, its place is certain; otherwise the template changed the content and a
:class:`~saccade.core.errors.PromptError` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saccade.core.errors import PromptError

from .markup import Marked, Range, parse
from .selectors import Turn

_FIRST_MARK, _LAST_MARK = 0xF0000, 0xFFFFD


@dataclass(frozen=True)
class Rendered:
    """A chat as text: ``plain``, its messages, and the character ranges of the spans marked up in contents."""

    plain: str
    turns: tuple[Turn, ...]
    ranges: Mapping[str, tuple[Range, ...]]
    messages: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Text:
    message: int
    part: int | None
    marked: Marked


def render(tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, markup: bool, **template: Any) -> Rendered:
    """Render ``messages`` and locate each content.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        messages: mappings with ``role`` and ``content`` (a string, or a list of parts of which those with ``text``
            count).
        markup: whether contents hold span markup.
        template: further arguments of ``apply_chat_template``.

    Raises:
        PromptError: no chat template, malformed messages, or a template that drops or rewrites a content.
    """
    if not getattr(tokenizer, "chat_template", None) and not template.get("chat_template"):
        raise PromptError(
            f"{type(tokenizer).__name__} has no chat template, so messages cannot be rendered: pass the prompt as "
            f"text, or give "
            "chat_template=."
        )
    texts = _texts(messages, markup)
    plain_messages = _rewrite(messages, texts, lambda _, text: text)

    def template_of(changed: list[dict[str, Any]]) -> str:
        return str(tokenizer.apply_chat_template(changed, tokenize=False, **template))

    try:
        plain = template_of(plain_messages)
    except Exception as error:
        raise PromptError(f"the chat template refuses these messages: {error}") from error
    places = _locate(plain, messages, texts, template_of)
    turns, ranges = [], dict[str, list[Range]]()
    for index, message in enumerate(messages):
        contents = []
        for text, found in zip(texts, places, strict=True):
            if text.message != index:
                continue
            contents += [(low, high) for low, high, _ in found]
            for name, spans in text.marked.ranges.items():
                clipped = [
                    (max(low, start - lead + low), min(high, end - lead + low))
                    for low, high, lead in found
                    for start, end in spans
                ]
                kept = [(start, end) for start, end in clipped if start < end]
                if not kept:
                    raise PromptError(
                        f"the chat template strips the white space that the span {name!r} of message {index} consists "
                        f"of."
                    )
                ranges.setdefault(name, []).extend(kept)
        turns.append(Turn(str(message["role"]), tuple(contents)))
    return Rendered(plain, tuple(turns), {name: tuple(found) for name, found in ranges.items()}, plain_messages)


def _texts(messages: Sequence[Mapping[str, Any]], markup: bool) -> list[_Text]:
    texts = []
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise PromptError(f"message {index} must be a mapping with a 'role' and a 'content', found {message!r}.")
        content = message.get("content")
        parts: list[tuple[int | None, Any]] = []
        if isinstance(content, str):
            parts = [(None, content)]
        elif isinstance(content, Sequence):
            parts = [
                (at, part["text"]) for at, part in enumerate(content) if isinstance(part, Mapping) and "text" in part
            ]
        elif content is not None:
            raise PromptError(f"the content of message {index} must be text or a list of parts, found {content!r}.")
        texts += [_Text(index, at, parse(text) if markup else Marked(text, {})) for at, text in parts]
    return texts


def _rewrite(
    messages: Sequence[Mapping[str, Any]], texts: Sequence[_Text], change: Callable[[int, str], str]
) -> list[dict[str, Any]]:
    rewritten = [dict(message) for message in messages]
    for number, text in enumerate(texts):
        message, new = rewritten[text.message], change(number, text.marked.plain)
        if text.part is None:
            message["content"] = new
        else:
            message["content"] = [
                {**part, "text": new} if at == text.part else part for at, part in enumerate(message["content"])
            ]
    return rewritten


def _locate(
    plain: str,
    messages: Sequence[Mapping[str, Any]],
    texts: Sequence[_Text],
    template_of: Callable[[list[dict[str, Any]]], str],
) -> list[list[tuple[int, int, int]]]:
    """For each text the places ``(start, end, characters stripped before it)`` in ``plain``."""
    used = set(plain).union(*(text.marked.plain for text in texts))
    free = (chr(code) for code in range(_FIRST_MARK, _LAST_MARK) if chr(code) not in used)
    marks = [(next(free), next(free)) for _ in texts]

    def attempt(which: Sequence[int], strip: bool) -> list[list[tuple[int, int, int]]] | None:
        def between(number: int, text: str) -> str:
            core = text.strip() if strip else text
            if number not in which or not core:
                return text
            lead = text.index(core)
            opening, closing = marks[number]
            return text[:lead] + opening + core + closing + text[lead + len(core) :]

        try:
            marked = template_of(_rewrite(messages, texts, between))
        except Exception:
            return None
        return _read(marked, plain, texts, marks, which, strip)

    everything = range(len(texts))
    for strip in (False, True):
        if (places := attempt(everything, strip)) is not None:
            return places
    guilty = next((number for number in everything if attempt([number], True) is None), 0)
    text = texts[guilty]
    raise PromptError(
        f"the chat template changes, drops or depends on the content of message {text.message} "
        f"({text.marked.plain[:60]!r}), so its place in the prompt cannot be proved. Give the content in the form "
        f"that the "
        f"template keeps, or render the prompt yourself and pass it as text. The template made: {plain[:200]!r}"
    )


def _read(
    marked: str,
    plain: str,
    texts: Sequence[_Text],
    marks: Sequence[tuple[str, str]],
    which: Sequence[int],
    strip: bool,
) -> list[list[tuple[int, int, int]]] | None:
    numbers = {sign: number for number in which for sign in marks[number]}
    opened = dict[int, int]()
    places: list[list[tuple[int, int, int]]] = [[] for _ in texts]
    rest = list[str]()
    for character in marked:
        number = numbers.get(character)
        if number is None:
            rest.append(character)
        elif character == marks[number][0]:
            opened[number] = len(rest)
        elif number in opened:
            content = texts[number].marked.plain
            core = content.strip() if strip else content
            start = opened.pop(number)
            if "".join(rest[start:]) != core:
                return None
            places[number].append((start, len(rest), content.index(core)))
    wanted = [number for number in which if texts[number].marked.plain.strip()]
    if "".join(rest) != plain or opened or not all(places[number] for number in wanted):
        return None
    return places
