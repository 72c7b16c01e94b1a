"""Special tokens by name."""

from __future__ import annotations

from typing import Any

from saccade.core.errors import PromptError

from .nearest import nearest_name
from .selectors import Absent

_NAMED = ("bos", "eos", "cls", "sep", "mask", "unk")


def special_ids(tokenizer: Any, token: str) -> frozenset[int]:
    """Ids that a name such as ``"bos"``, a token as written, or ``"any"`` stands for (see "
    ":class:`~saccade.prompt.Special`)."""
    written = {str(added): number for number, added in tokenizer.added_tokens_decoder.items() if added.special}
    written |= dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    if token == "any":
        return frozenset(written.values())
    if token in _NAMED:
        named = (
            getattr(tokenizer, f"{name}_token_id", None) for name in (("bos", "cls") if token == "bos" else (token,))
        )
        ids = frozenset(number for number in named if number is not None)
        if not ids:
            raise Absent(f"this tokenizer has no {token} token; its special tokens are {sorted(written)}.")
        return ids
    if token not in written:
        raise PromptError(
            f"{token!r} is not a special token of this tokenizer{nearest_name(token, written)}; there are "
            f"{sorted(written)}, and the names {list(_NAMED)} and 'any'."
        )
    return frozenset({written[token]})


def image_id(tokenizer: Any, image_token: str | None) -> int | None:
    """Id of the image token: ``image_token`` as written, or the tokenizer's own, or None."""
    token = image_token or getattr(tokenizer, "image_token", None)
    if token is None:
        return None
    number: int | None = tokenizer.get_vocab().get(token)
    if number is None and image_token is not None:
        raise PromptError(
            f"the tokenizer has no token {image_token!r}; give the image token as the tokenizer writes it."
        )
    return number
