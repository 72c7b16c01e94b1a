"""Kinds of heads by name, and the one way to find any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .attended import Delimiter, FalseInduction, Instruction, Operands, Sink, Syntax
from .headset import HeadError, HeadSet
from .knockout import Context, Memory, Temporal
from .longcontext import LongContext
from .positions import DuplicateToken, Induction, Offset, PreviousToken
from .retrieval import Retrieval
from .rotary import Positional
from .sensitivity import Memorisation, Sensitivity
from .shapley import Shapley
from .writing import AnswerWriting

if TYPE_CHECKING:
    from saccade.hosts import Host


class Kind(Protocol):
    """A way to score heads: a frozen dataclass of hyper-parameters that is called with a model and data."""

    def __call__(self, lm: Host, data: Any, *, among: HeadSet | None = None, progress: bool = True) -> HeadSet:
        """Every head of the main stack, or of ``among``, with its score."""


KINDS: dict[str, type[Any]] = {
    kind.name: kind
    for kind in (
        Induction,
        PreviousToken,
        DuplicateToken,
        Offset,
        Positional,
        LongContext,
        Sink,
        Delimiter,
        Syntax,
        Retrieval,
        Instruction,
        FalseInduction,
        Operands,
        Temporal,
        Context,
        Memory,
        AnswerWriting,
        Memorisation,
        Sensitivity,
        Shapley,
    )
}
"""Name -> class. A kind of your own needs no entry: give it to :func:`find` itself."""


def find(
    lm: Host, kind: str | Kind, data: Any = None, *, among: HeadSet | None = None, progress: bool = True, **options: Any
) -> HeadSet:
    """Rank heads by what they do.

    Args:
        lm: an attached model.
        kind: a name of ``KINDS``, or a kind with its hyper-parameters, such as ``Retrieval(span="gold")``.
        data: what the kind reads: prompts of ``lm.prompt(...)``, batches ``(prompt, answers)``, or several of these by
            name; its docstring says which. See :func:`~saccade.heads.labelled` and :func:`~saccade.heads.repeats`.
        among: the heads to rank; all of the main stack by default.
        progress: show a progress bar where it takes long.
        options: hyper-parameters of a kind given by name.

    Returns:
        The heads, the best first, with their scores.

    Raises:
        HeadError: an unknown kind, options that it does not have, or data without what it needs.

    Example:
        >>> import saccade as sc
        >>> from saccade import zoo
        >>> lm = sc.attach(*zoo.load("copier"))
        >>> found = find(lm, "induction")
        >>> found.kind, len(found), found.heads[0].layer, found.heads[0].score > 0.3
        ('induction', 16, 1, True)
    """
    if not isinstance(kind, str):
        if options:
            raise HeadError(f"options {sorted(options)} go into the kind itself: {type(kind).__name__}(...).")
        return kind(lm, data, among=among, progress=progress)
    if kind not in KINDS:
        raise HeadError(f"no kind of heads is named {kind!r}; there are {', '.join(sorted(KINDS))}.")
    try:
        made = KINDS[kind](**options)
    except TypeError as error:
        raise HeadError(
            f"{kind}: {error}; its options are {', '.join(KINDS[kind].__dataclass_fields__) or 'none'}."
        ) from None
    if data is None and kind != Induction.name:
        raise HeadError(f"{kind} needs data: {_first_line(KINDS[kind])}")
    found: HeadSet = made(lm, data, among=among, progress=progress)
    return found


def _first_line(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]
