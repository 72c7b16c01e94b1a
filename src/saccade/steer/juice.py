"""JUICE: run twice, and add the first run's output of reliable heads to the second (paper 352)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from rich.progress import track
from torch import Tensor

from saccade.core.edits import Rewrite, ScaleHeads
from saccade.core.errors import EditError
from saccade.core.spans import Spans
from saccade.heads import Head, HeadError, HeadSet, fingerprint
from saccade.heads.headset import main_heads

if TYPE_CHECKING:
    from saccade.hosts import Host

RAISED = (1.0, 3.0, 5.0, 10.0, 30.0)
LOWERED = (1.0, 2.0, 5.0)
SIDE_BY_SIDE = 128
"""Samples that a search runs in one batch, beside those of the first run."""
NONE = HeadSet()
GREEDY = {"do_sample": False, "num_beams": 1}
Kinds = Mapping[str, Sequence[tuple[Any, Sequence[int]]]]
"""Situations by name, each some batches (prompt, first token of the wanted answer for each sample)."""


@dataclass(frozen=True, eq=False)
class JUICE:
    r"""Two runs: what reliable heads gave in the first is added to what they give in the second.

    With :math:`z_h` the output of head h before the output projection, ``[B, Q, Dv]``, in the run that is used, and
    :math:`z_h^{(1)}` in a first run without any change, of the same tokens,

    .. math:: z'_h = z_h + a \, z_h^{(1)} \text{ for heads to enlarge}, \qquad
              z'_h = z_h - b \, z_h^{(1)} \text{ for heads to suppress}.

    One run alone scales each head's present output, :math:`z'_h = (1 + a) z_h` and :math:`(1 - b) z_h`: but later heads
    then see what earlier ones have become, and give something else than what they were chosen for. That is
    :meth:`once`, the paper's ablation.

    Which heads are reliable is found by :meth:`find`: turning the head up (or down) alone helps the wanted answer in
    every situation that is given, with a conflict and without.

    Both runs go side by side as one batch of twice the size, whose second half is used: the cache holds both, and
    nothing is stored between them.

    Args:
        enlarge: heads to enlarge.
        suppress: heads to suppress.
        more: a, at least 0; the paper searches 0 to 5 on a validation set.
        less: b, at least 0; the paper searches 0 to 3, or 0 to 5. 1 takes out what the head gave.

    Source: Li et al., "Taming Knowledge Conflicts in Language Models" (paper 352) and its published code: heads scored
    by the change in probability of the answer's first token, averaged over factors 1, 3, 5, 10, 30 (up) and 1, 2, 5
    (down) and over a few examples; a head counts if the change is positive in every situation, ranked by their sum; the
    best 5 or 10 of each kind. The code runs the whole sequence twice for each new token; here a cache does the same.

    Raises:
        EditError: no head to change, or a factor below 0.

    Example:
        >>> import torch, saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, num_key_value_heads=2, vocab_size=32)).eval()
        >>> juice = JUICE(enlarge=sc.HeadSet([(0, 1)]), suppress=sc.HeadSet([(1, 3)]), more=2.0)
        >>> juice.logits(sc.attach(model), {"input_ids": torch.arange(9)[None]}).shape
        torch.Size([1, 32])
    """

    enlarge: HeadSet = NONE
    suppress: HeadSet = NONE
    more: float = 1.0
    less: float = 1.0

    def __post_init__(self) -> None:
        for name, factor in (("more", self.more), ("less", self.less)):
            if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 <= factor < math.inf:
                raise EditError(f"JUICE: {name} is a number of at least 0, found {factor!r}.")
        if not self.parts:
            raise EditError(
                "JUICE has nothing to change: give heads to enlarge= with more > 0, or to suppress= with less > 0."
            )

    @property
    def parts(self) -> tuple[tuple[HeadSet, float], ...]:
        """Heads, and the factor of what they gave in the first run."""
        both = ((self.enlarge, self.more), (self.suppress, -self.less))
        return tuple((heads, factor) for heads, factor in both if factor and len(heads))

    def once(self) -> tuple[ScaleHeads, ...]:
        """The same factors in a single run: edits to steer with."""
        return tuple(ScaleHeads(1.0 + factor, heads) for heads, factor in self.parts)

    def twice(self) -> tuple[Rewrite, ...]:
        """Edits of a batch whose first half is the first run and whose second half is the second."""
        return tuple(
            Rewrite(_Lend(2, ((1, slice(None), factor),)), on="outputs", at=heads) for heads, factor in self.parts
        )

    def logits(self, lm: Host, prompt: Any) -> Tensor:
        """Logits of the token after each prompt, ``[B, vocabulary]``; prompts are padded on the left.

        Args:
            lm: an attached decoder.
            prompt: a prompt of :meth:`lm.prompt`, or model inputs by name.
        """
        with lm.steer(*self.twice()):
            return _next(lm, _Copies.of(lm, prompt, 2)).chunk(2)[1]

    def generate(self, lm: Any, prompt: Any, **options: Any) -> Any:
        """Greedily, as ``lm.generate``: text (a list for several prompts) where a tokenizer is known, else tokens.

        Both runs read the same tokens, those that the second run writes.

        Args:
            lm: an attached decoder.
            prompt: a prompt of :meth:`lm.prompt`, or model inputs by name.
            options: for the model's ``generate``; no sampling and no beams.

        Raises:
            EditError: sampling or beams are asked for, or the model is an encoder-decoder.
        """
        if options.get("do_sample") or options.get("num_beams", 1) != 1:
            raise EditError("JUICE decodes greedily: leave out do_sample and num_beams.")
        both = {**options, "logits_processor": [*options.get("logits_processor", ()), _follow]}
        with lm.steer(*self.twice()):
            out = lm.generate(_Copies.of(lm, prompt, 2), **GREEDY, **both)
        if isinstance(out, Tensor):
            return out.chunk(2)[1]
        second = out[len(out) // 2 :]
        return second[0] if len(second) == 1 else second

    @classmethod
    def find(
        cls,
        lm: Host,
        situations: Kinds,
        *,
        raised: Sequence[float] = RAISED,
        lowered: Sequence[float] = LOWERED,
        among: HeadSet | None = None,
        progress: bool = True,
    ) -> tuple[HeadSet, HeadSet]:
        """Reliable heads: those to enlarge and those to suppress, the best first.

        Takes one pass of the batch for each head and factor, many of them side by side with one first run. What it
        returns was chosen on the data that it was given: judge it on other data.

        Args:
            lm: an attached decoder.
            situations: by name (with a conflict, without), batches of prompts and the first token of the answer that
                is wanted there.
            raised: factors that a head is enlarged by.
            lowered: factors that it is suppressed by.
            among: the heads to try; all of the main stack by default.
            progress: show a progress bar.

        Raises:
            HeadError: no head helps in every situation, neither turned up nor turned down.
        """
        heads = main_heads(lm) if among is None else among.check(lm)
        factors = (*raised, *(-factor for factor in lowered))
        variants = [(head, factor) for head in heads for factor in factors]
        gains = torch.zeros(len(situations), len(heads), len(factors), dtype=torch.float64)
        for place, rows in enumerate(situations.values()):
            found = [_gains(lm, prompt, wanted, variants, progress) for prompt, wanted in rows]
            gains[place] = torch.cat(found, dim=1).mean(1).view(len(heads), len(factors))
        kept = []
        for side in (gains[..., : len(raised)].mean(-1), gains[..., len(raised) :].mean(-1)):
            reliable = (side > 0).all(0).tolist()
            scores = side.sum(0).tolist()
            kept.append(
                [(*head.place, score) for head, score, good in zip(heads, scores, reliable, strict=True) if good]
            )
        if not any(kept):
            raise HeadError(f"no head helps the wanted answer in all of {sorted(situations)}; give other examples.")
        whose = fingerprint(lm)
        return HeadSet(kept[0], "JUICE enlarge", whose), HeadSet(kept[1], "JUICE suppress", whose)


@dataclass(frozen=True)
class _Lend:
    """Adds to the outputs of copy i of the batch, at its heads, a factor times those of copy 0."""

    copies: int
    loans: tuple[tuple[int, int | slice, float], ...]

    def __call__(self, tile: Tensor, rows: Tensor) -> Tensor:
        out = tile.clone().view(self.copies, -1, *tile.shape[1:])
        for copy, heads, factor in self.loans:
            out[copy, :, heads] += factor * out[0, :, heads]
        return out.view(tile.shape)


def _follow(ids: Tensor, scores: Tensor) -> Tensor:
    """The first run writes what the second does."""
    return scores.chunk(2)[1].repeat(2, 1)


@dataclass(frozen=True, eq=False)
class _Copies:
    """A batch several times over, as a prompt."""

    inputs: Mapping[str, Tensor]
    spans: Spans | None

    @classmethod
    def of(cls, lm: Host, prompt: Any, copies: int) -> _Copies:
        inputs, spans = getattr(prompt, "inputs", prompt), getattr(prompt, "spans", None)
        if lm.encoder_decoder:
            raise EditError("JUICE runs a decoder twice; an encoder-decoder is not supported.")
        size = len(inputs["input_ids"])
        members = {name: spans[name].expand(size, -1).repeat(copies, 1) for name in spans.names} if spans else {}
        return cls(
            {name: torch.cat([value] * copies) for name, value in inputs.items()}, Spans(members) if spans else None
        )


def _next(lm: Any, prompt: Any) -> Tensor:
    """Logits of the next token ``[B, vocabulary]``; positions are those of generation, whatever the padding."""
    out = lm.generate(prompt, max_new_tokens=1, output_logits=True, return_dict_in_generate=True, **GREEDY)
    logits: Tensor = out.logits[0]
    return logits


@torch.no_grad()
def _gains(
    lm: Host, prompt: Any, wanted: Sequence[int], variants: Sequence[tuple[Head, float]], progress: bool
) -> Tensor:
    """Change in probability of each sample's wanted token, for each (head, factor) alone: ``[variants, B]``."""
    index = torch.tensor(list(wanted), device=prompt.input_ids.device)
    size = max(1, SIDE_BY_SIDE // len(index))
    found = []
    for start in track(range(0, len(variants), size), description="JUICE: heads", disable=not progress):
        chunk = variants[start : start + size]
        loans: dict[int | str, list[tuple[int, int | slice, float]]] = {}
        for copy, (head, factor) in enumerate(chunk, start=1):
            loans.setdefault(head.layer, []).append((copy, head.head, factor))
        copies = len(chunk) + 1
        edits = [Rewrite(_Lend(copies, tuple(some)), on="outputs", at={layer: None}) for layer, some in loans.items()]
        with lm.steer(*edits):
            logits = _next(lm, _Copies.of(lm, prompt, copies))
        own = (
            logits.float()
            .softmax(-1)
            .view(copies, len(index), -1)
            .gather(-1, index[None, :, None].expand(copies, -1, 1))
        )
        found.append((own[1:, :, 0] - own[:1, :, 0]).double().cpu())
    return torch.cat(found)
