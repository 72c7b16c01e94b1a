"""Steering on the tasks of lm-evaluation-harness, any of them, with spans found in each request.

Needs the package ``lm-eval``: ``pip install saccade[eval]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from saccade.core.edits import Edit, Recipe, flatten
from saccade.core.errors import PromptError
from saccade.core.spans import Spans
from saccade.hosts import Effect, attach
from saccade.hosts.localise import mentioned
from saccade.hosts.session import Run, running
from saccade.prompt import encode

from .replies import EvaluationError

try:
    from lm_eval.models.huggingface import HFLM
except ImportError as error:
    raise ImportError("saccade.evaluation.harness needs lm-eval: pip install 'saccade[eval]'.") from error

Selectors = Mapping[str, Any]
Ids = tuple[int, ...]
Members = dict[str, tuple[bool, ...]]
FIRST, NEW = "bos", "generated"


@dataclass(frozen=True)
class Marked:
    """A request's text without markup, its tokens without special ones, and which of them each span has."""

    text: str
    ids: Ids
    members: Members


class SteeredLM(HFLM):
    """A model of the harness that is steered; otherwise an ``HFLM``, whose arguments it takes.

    Spans of each request are found where the text says so, ``[[name|words]]`` (it is taken out before the model reads
    it), or by ``spans``. Edits act in generation (padded on the left, with a cache) as in likelihood (padded on the
    right); there the continuation counts as ``generated``, so that what is scored is what would have been written.
    Spans survive truncation from the left as far as their tokens do.

    Args:
        pretrained: a model, a folder, or a hub id.
        edits: edits and methods, for instance ``[PASTA("rule", at=heads)]``.
        spans: name -> selector (see :mod:`saccade.prompt.selectors`) for every request, or a function from the text to
            such a mapping.
        markup: read ``[[name|words]]``.
        optional: requests may lack a span that the edits name; they are then not steered by it. By default they raise.
        options: for ``HFLM``; ``batch_size`` has to be a number.

    Attributes:
        host: the attached model.
        effects: the proof of each call of the harness: what the edits touched.

    Raises:
        EvaluationError: a request lacks a span, or asks for something that cannot be steered.

    Example:
        >>> from saccade.steer import PASTA
        >>> lm = SteeredLM(model, tokenizer=tokenizer, edits=[PASTA("rule")], batch_size=8)  # doctest: +SKIP
        >>> lm_eval.simple_evaluate(lm, tasks=["ifeval"], apply_chat_template=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        pretrained: Any,
        *,
        edits: Sequence[Edit | Recipe] = (),
        spans: Selectors | Callable[[str], Selectors] | None = None,
        markup: bool = True,
        optional: bool = False,
        **options: Any,
    ) -> None:
        if str(options.get("batch_size", 1)).startswith("auto"):
            raise EvaluationError(
                "give batch_size as a number: an automatic one is tried on made-up requests, which have no spans."
            )
        super().__init__(pretrained, **options)
        if self.backend != "causal":
            raise EvaluationError("only models that continue a text are steered here, not encoder-decoders.")
        self.host: Any = attach(self.model, self.tokenizer)
        self.edits = tuple(flatten(edits))
        self.effects: list[Effect] = []
        self._find, self._markup, self._optional = spans, markup, optional
        self._named = frozenset(name for edit in self.edits for name in mentioned(edit))
        self._requests: dict[str, Marked] = {}
        self._rows: dict[Ids, Members] = {}
        self._batch: Spans | None = None

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """As ``HFLM``, steered."""
        return self._run(super().loglikelihood, requests, disable_tqdm)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """As ``HFLM``, steered."""
        return self._run(super().generate_until, requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """As ``HFLM``, steered by edits that name no span: windows of a long text have no prompt to find one in."""
        if self._named:
            raise EvaluationError(
                f"rolling likelihood reads windows of a text, where no span {sorted(self._named)} can be found; take "
                "edits without spans."
            )
        return self._run(super().loglikelihood_rolling, requests, disable_tqdm)

    def tok_batch_encode(self, strings: list[str], *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """As ``HFLM``; the spans of the batch are kept for the call of the model that follows."""
        ids, mask = super().tok_batch_encode(strings, *args, **options)
        rows = [tuple(row[real].tolist()) for row, real in zip(ids, mask.bool(), strict=True)]
        members = [self._on(self._requests[text], row) for text, row in zip(strings, rows, strict=True)]
        self._batch = self._spans(members, [int(real.nonzero()[0]) for real in mask], ids.shape[1], self._named - {NEW})
        return ids, mask

    def _loglikelihood_tokens(self, requests: list[Any], *args: Any, **options: Any) -> Any:
        self._rows = {}
        for pair, context, continuation in requests:
            if pair is None:
                continue
            members = self._on(self._requests[pair[0]], tuple(context))
            members |= {NEW: (False,) * len(context)} if NEW in self._named else {}
            whole = {name: (*row, *[name == NEW] * len(continuation)) for name, row in members.items()}
            kept = slice(-(self.max_length + 1), None)
            ids = (*context, *continuation)[kept][:-1]
            found = {name: row[kept][:-1] for name, row in whole.items()}
            if self._rows.setdefault(_trimmed(ids), found) != found:
                raise EvaluationError(f"two requests have the same text, but other spans: {pair[0][-80:]!r}.")
        return super()._loglikelihood_tokens(requests, *args, **options)

    def _model_call(self, inps: Tensor, *args: Any, **options: Any) -> Tensor:
        rows = [self._rows.get(_trimmed(row), {}) for row in inps.tolist()]
        with self._reading(self._spans(rows, [0] * len(rows), inps.shape[1], self._named), generating=False):
            logits: Tensor = super()._model_call(inps, *args, **options)
        return logits

    def _model_generate(self, context: Tensor, *args: Any, **options: Any) -> Tensor:
        with self._reading(self._batch, generating=True):
            tokens: Tensor = super()._model_generate(context, *args, **options)
        return tokens

    def _run(self, call: Callable[[list[Any], bool], list[Any]], requests: Sequence[Any], quiet: bool) -> list[Any]:
        """Answer the requests that have every span of the edits with steering, the others without."""
        plain = self._plain(requests)
        wanted = self._named - {FIRST, NEW}
        steered = [bool(self.edits) and wanted <= self._requests[one.args[0]].members.keys() for one in plain]
        found: dict[int, Any] = {}
        for kind, context in ((True, self._steering), (False, nullcontext)):
            places = [place for place, one in enumerate(steered) if one is kind]
            if places:
                with context():
                    found |= zip(places, call([plain[place] for place in places], quiet), strict=True)
        return [found[place] for place in range(len(plain))]

    @contextmanager
    def _steering(self) -> Iterator[None]:
        with self.host.steer(*self.edits) as effect:
            yield
        self.effects.append(effect)

    @contextmanager
    def _reading(self, spans: Spans | None, generating: bool) -> Iterator[None]:
        with running(self.host, Run(spans={} if spans is None else {self.host.main: spans}, generating=generating)):
            yield

    def _plain(self, requests: Sequence[Any]) -> list[Any]:
        """The requests without markup; what it said is kept."""
        self._requests, plain = {}, []
        for request in requests:
            one = self._marked(request.args[0])
            if self._requests.setdefault(one.text, one) != one:
                raise EvaluationError(f"two requests have the same text, but other spans: {one.text[-80:]!r}.")
            plain.append(replace(request, arguments=(one.text, *request.args[1:])))
        return plain

    def _marked(self, text: str) -> Marked:
        if not text:
            return Marked("", (), {})
        options: dict[str, Any] = {"markup": self._markup, "automatic": False, "add_special_tokens": False}
        chosen = self._find
        if callable(chosen):
            chosen = chosen(encode(self.tokenizer, text, **options).text)
        try:
            prompt = encode(self.tokenizer, text, chosen, optional=self._optional, **options)
        except PromptError as error:
            raise EvaluationError(f"{error} The request ends with {text[-80:]!r}.") from error
        missing = sorted(self._named - {FIRST, NEW} - set(prompt.spans.names))
        if missing and not self._optional:
            raise EvaluationError(
                f"a request has no span {missing[0]!r}: mark it as [[{missing[0]}|words]], find it with spans=, or say "
                f"optional=True. The request ends with {text[-80:]!r}."
            )
        members = {name: tuple(prompt.spans[name][0].tolist()) for name in self._named & set(prompt.spans.names)}
        return Marked(prompt.text, tuple(prompt.input_ids[0].tolist()), members)

    def _on(self, marked: Marked, ids: Ids) -> Members:
        """Membership of the tokens of a row: those of the request, special ones, less what truncation took."""
        first = self.tokenizer.bos_token_id
        lead = int(ids[:1] == (first,) != marked.ids[:1])
        own = ids[lead:]
        cut = max(0, len(marked.ids) - len(own))
        start = cut if marked.ids[cut:] == own else 0
        if marked.text and marked.ids[start : start + len(own)] != own:
            raise EvaluationError(
                "the harness reads other tokens than the request has, so that spans cannot be placed: "
                f"{self.tokenizer.decode(own)[:80]!r} for {marked.text[:80]!r}."
            )
        rows = {name: (*[False] * lead, *row[start : start + len(own)]) for name, row in marked.members.items()}
        bos = tuple(place == 0 and token == first for place, token in enumerate(ids))
        return {FIRST: bos, **rows} if FIRST in self._named else rows

    def _spans(self, members: Sequence[Members], starts: Sequence[int], width: int, names: Set[str]) -> Spans | None:
        """Spans of a padded batch ``[B, width]``, each row from its start; None where no edit names one."""
        if not names:
            return None
        found = {name: torch.zeros(len(members), width, dtype=torch.bool) for name in names}
        for number, (one, start) in enumerate(zip(members, starts, strict=True)):
            for name in names & one.keys():
                row = torch.tensor(one[name], dtype=torch.bool)
                found[name][number, start : start + len(row)] = row
        return Spans(found)


def _trimmed(ids: Sequence[int]) -> Ids:
    """Tokens without the zeros at the end, which the harness pads with."""
    end = len(ids)
    while end and ids[end - 1] == 0:
        end -= 1
    return tuple(ids[:end])
