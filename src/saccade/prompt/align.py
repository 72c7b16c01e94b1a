"""Which characters each token stands for.

Fast tokenizers say it themselves. For the others the tokens are decoded and laid along the text: both are reduced to
letters without case, accents and white space, and the reduced forms must agree from the first letter to the last, so a
wrong alignment cannot pass.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from saccade.core.errors import PromptError

from .markup import Range

_DROPPED_CATEGORIES = frozenset({"Mn", "Me", "Cc", "Cf", "Zs", "Zl", "Zp"})
_WORD_MARK = "\u2581"
_DROPPED_CHARACTERS = frozenset({_WORD_MARK, "\ufffd"})
_LONGEST_GROUP = 16


@dataclass(frozen=True)
class Encoding:
    """One tokenised text, unpadded.

    Attributes:
        ids: token ids.
        offsets: per token the half-open range of characters it stands for, ``(0, 0)`` for tokens that the tokenizer
            added.
        added: per token, whether the tokenizer added it around the text.
        extras: further per-token model inputs, such as ``token_type_ids``.
    """

    ids: tuple[int, ...]
    offsets: tuple[Range, ...]
    added: tuple[bool, ...]
    extras: dict[str, tuple[int, ...]]

    def take(self, positions: Sequence[int]) -> Encoding:
        """Only the tokens at ``positions``."""

        def some(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[at] for at in positions)

        extras = {name: some(values) for name, values in self.extras.items()}
        return Encoding(some(self.ids), some(self.offsets), some(self.added), extras)


def tokenise(tokenizer: Any, text: str, add_special_tokens: bool) -> Encoding:
    """Tokenise ``text`` whole and find the characters of every token.

    Raises:
        PromptError: text that is not valid Unicode, or a tokenizer whose tokens cannot be laid along the text.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PromptError(
            f"the text is not valid Unicode: {text[error.start]!r} at character {error.start} is half of a surrogate "
            f"pair; "
            "decode it properly or remove it."
        ) from None
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoded = tokenizer(
        text,
        add_special_tokens=add_special_tokens,
        return_special_tokens_mask=True,
        return_attention_mask=True,
        return_offsets_mapping=fast,
        verbose=False,
    )
    ids, added = tuple(encoded["input_ids"]), tuple(map(bool, encoded["special_tokens_mask"]))
    extras = {
        name: tuple(encoded[name])
        for name in tokenizer.model_input_names
        if name in encoded and name not in ("input_ids", "attention_mask")
    }

    def decode(some: Sequence[int]) -> str:
        return str(tokenizer.decode(list(some), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    offsets: tuple[Range, ...]
    if fast:
        tokens = tokenizer.convert_ids_to_tokens(list(ids))
        offsets = tuple(
            _own(text, token, place) for token, place in zip(tokens, encoded["offset_mapping"], strict=True)
        )
    if not fast or not _plausible(ids, offsets, added, decode):
        offsets = align(text, ids, added, decode)
    return Encoding(ids, offsets, added, extras)


def align(
    text: str, ids: Sequence[int], added: Sequence[bool], decode: Callable[[Sequence[int]], str]
) -> tuple[Range, ...]:
    """Lay tokens along the text by decoding them; tokens that share a character all stand for it.

    Args:
        text: the text that was tokenised.
        ids: token ids.
        added: tokens that the tokenizer added, which stand for no text.
        decode: token ids -> text, special tokens included.

    Raises:
        PromptError: the decoded tokens do not spell the text.

    Example:
        >>> align("Né, so", [0, 1, 2], [False] * 3, lambda some: " ".join(["ne", ",", "so"][one] for one in some))
        ((0, 2), (2, 3), (4, 6))
    """
    letters = [(letter, at) for at, character in enumerate(text) for letter in fold(character)]
    spelt = "".join(letter for letter, _ in letters)
    offsets: list[Range] = [(0, 0)] * len(ids)
    places = [index for index in range(len(ids)) if not added[index]]
    done, cursor, first, before = 0, 0, 0, 0
    while first < len(places):
        start = places[first]
        context = decode(ids[before:start])
        raw, piece = "", ""
        for last in range(first, min(first + _LONGEST_GROUP, len(places))):
            end = places[last] + 1
            whole = decode(ids[before:end])
            raw = whole.removeprefix(context)
            piece = fold(whole).removeprefix(fold(context))
            if spelt.startswith(piece, done) and (piece or raw.strip("\ufffd")):
                break
        else:
            if not piece:
                break
            raise PromptError(
                f"the tokens of this tokenizer do not spell the text: {decode([ids[start]])!r} (token {start}) does "
                f"not continue "
                f"{text[:cursor][-30:]!r}. Use the fast tokenizer of this model (use_fast=True), which says itself "
                f"which "
                "characters its tokens stand for."
            )
        if piece:
            covered = (letters[done][1], letters[done + len(piece) - 1][1] + 1)
            done += len(piece)
        else:
            limit = letters[done][1] if done < len(letters) else len(text)
            found = text.find(raw, cursor, limit)
            covered = (found, found + len(raw)) if found >= 0 else (0, 0)
        offsets[start:end] = [covered] * (end - start)
        cursor, before, first = max(cursor, covered[1]), start, last + 1
    if done != len(spelt):
        raise PromptError(
            f"the tokens of this tokenizer end before the text does: {text[letters[done][1] :][:30]!r} has no token. "
            f"Use the fast "
            "tokenizer of this model (use_fast=True)."
        )
    return tuple(offsets)


def fold(text: str) -> str:
    """Letters without case, accents, white space and control characters.

    Example:
        >>> fold("É\u0301 ▁Straße")
        'estrasse'
    """
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(
        letter
        for letter in letters
        if unicodedata.category(letter) not in _DROPPED_CATEGORIES and letter not in _DROPPED_CHARACTERS
    )


def _own(text: str, token: str, place: Range) -> Range:
    """The range of a token, corrected.

    A word mark put before the text claims a letter that is not its own; and a letter composed of a character and the
    accents after it stands for those too.
    """
    start, end = place
    if token and not token.strip(_WORD_MARK) and text[start:end].strip(f"{_WORD_MARK} \n\t"):
        return (start, start)
    after = end
    while end and after < len(text) and unicodedata.combining(text[after]):
        after += 1
    composed = unicodedata.normalize("NFC", text[end - 1 : after]) if after > end else ""
    return (start, after) if len(composed) == 1 and token.endswith(composed) else (start, end)


def _plausible(
    ids: Sequence[int], offsets: Sequence[Range], added: Sequence[bool], decode: Callable[[Sequence[int]], str]
) -> bool:
    """Whether no token that spells something claims to stand for no character."""
    empty = [
        token for token, (start, end), extra in zip(ids, offsets, added, strict=True) if start == end and not extra
    ]
    return not any(fold(decode([token])) for token in empty)
