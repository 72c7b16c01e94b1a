"""Classifier-guided decoding: sample a few continuations, keep the one that a judge of attention rates best (198)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from saccade.core.errors import SaccadeError
from saccade.core.measures import Mass
from saccade.core.spans import Spans

if TYPE_CHECKING:
    from saccade.hosts.transformers.attach import TransformersHost


class DecodeError(SaccadeError):
    """Decoding was asked for something that it cannot do."""


class Judge(Protocol):
    """Rates pieces of text by the attention with which they were written, as :class:`saccade.detect.LookbackLens`."""

    @property
    def spans(self) -> tuple[str, ...]:
        """Spans whose masses it wants; ``"generated"`` is what has been written."""
        ...

    def rate(self, mass: Tensor, tokens: Tensor, inside: Tensor) -> Tensor:
        """Ratings ``[n]``, more is better.

        Args:
            mass: masses of the rows that wrote the pieces, in every head, ``[n, heads, T, S]``.
            tokens: how many keys of each span those rows saw, ``[n, T, S]``.
            inside: rows that count: those up to the end token, ``[n, T]``.
        """
        ...


@dataclass(frozen=True, eq=False)
class Guided:
    """Chunk by chunk, the best rated of several sampled continuations.

    For each prompt ``candidates`` chunks of ``chunk`` tokens are sampled; the judge rates each by the masses that were
    measured while it was written (no further pass over it), the best is appended, and so on until the end token. One
    candidate is plain sampling.

    Args:
        judge: rates a chunk.
        candidates: chunks sampled at a time; 8 as published.
        chunk: tokens a chunk; 8 as published.
        temperature: of the sampling.
        options: further arguments of ``generate`` (``top_p``, ``top_k`` ...).

    Source: Chuang et al., "Lookback Lens" (paper 198), its section on guided decoding.

    Raises:
        DecodeError: fewer than one candidate, token or degree of temperature, or a prompt padded on the right.

    Example:
        >>> import saccade as sc
        >>> from transformers import LlamaConfig, LlamaForCausalLM
        >>> from saccade.zoo.tokenizers import word_tokenizer
        >>> tokenizer = word_tokenizer("the sky is blue red".split())
        >>> model = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        ...                                      num_attention_heads=4, vocab_size=len(tokenizer))).eval()
        >>> lm = sc.attach(model, tokenizer)
        >>> class LooksBack:
        ...     spans = ("prompt",)
        ...     def rate(self, mass, tokens, inside):
        ...         return (mass[..., 0].mean(1) * inside).sum(1) / inside.sum(1)
        >>> texts = Guided(LooksBack(), candidates=3, chunk=2).generate(lm, lm.prompt("the sky is"), max_new_tokens=4)
        >>> isinstance(texts[0], str)
        True
    """

    judge: Judge
    candidates: int = 8
    chunk: int = 8
    temperature: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.candidates, self.chunk) < 1 or self.temperature <= 0:
            raise DecodeError(
                f"Guided needs candidates >= 1, chunk >= 1 and a temperature above 0, found {self.candidates}, "
                f"{self.chunk} and {self.temperature}."
            )

    def generate(self, lm: TransformersHost, prompt: Any, max_new_tokens: int = 64) -> list[str]:
        """New text for each prompt of a left-padded batch; what contexts of ``lm`` are open act on every step."""
        if not bool(prompt.attention_mask[:, -1].all()):
            raise DecodeError("a batch that is to be continued is padded on the left, this one is padded on the right.")
        written = self._tokens(lm, prompt.to(lm.model.device), max_new_tokens)
        return lm.tokenizer.batch_decode(written, skip_special_tokens=True)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _tokens(self, lm: TransformersHost, prompt: Any, max_new_tokens: int) -> list[list[int]]:
        written: list[list[int]] = [[] for _ in range(len(prompt))]
        ids, mask, spans = prompt.input_ids, prompt.attention_mask, prompt.spans
        alive = torch.arange(len(written), device=ids.device)
        done = 0
        while len(alive) and done < max_new_tokens:
            so_far = replace(prompt, inputs={"input_ids": ids, "attention_mask": mask}, spans=spans)
            pieces, inside, ratings = self._sample(lm, so_far, min(self.chunk, max_new_tokens - done))
            best = ratings.view(len(alive), -1).argmax(1) + torch.arange(len(alive)) * self.candidates
            pieces, inside = pieces[best], inside[best]
            for sample, piece, own in zip(alive.tolist(), pieces, inside, strict=True):
                written[sample] += piece[own].tolist()
            done += pieces.shape[1]
            open_ = inside.all(1) & ~_is_end(lm, pieces[:, -1])
            ids = torch.cat([ids, pieces], 1)[open_]
            mask = torch.cat([mask, torch.ones_like(pieces)], 1)[open_]
            spans, alive = Spans({name: spans[name][open_] for name in spans.names}), alive[open_]
        return written

    def _sample(self, lm: TransformersHost, prompt: Any, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Candidates ``[B * candidates, T]``, which of their tokens count, and their ratings."""
        names, ids, spans = self.judge.spans, prompt.input_ids, prompt.spans
        with lm.watch(Mass(names)) as seen:
            out = lm.generate(
                prompt,
                do_sample=True,
                num_beams=1,
                temperature=self.temperature,
                num_return_sequences=self.candidates,
                max_new_tokens=length,
                return_dict_in_generate=True,
                **self.options,
            ).sequences
        pieces = out[:, ids.shape[1] :]
        count = pieces.shape[1]
        ended = _is_end(lm, pieces).cumsum(1) > 0
        inside = ~torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], 1)
        series: Any = seen["mass"]
        mass = torch.cat([series.site(site)[:, :, -count:] for site in series.sites], 1)
        before = torch.arange(count, device=ids.device) + ids.shape[1] - spans.length
        sizes = [
            before.expand(len(ids), -1) if name == "generated" else spans[name].sum(1, keepdim=True).expand(-1, count)
            for name in names
        ]
        tokens = torch.stack(sizes, -1).repeat_interleave(self.candidates, 0)
        return pieces, inside, self.judge.rate(mass, tokens, inside).cpu()


def _is_end(lm: TransformersHost, tokens: Tensor) -> Tensor:
    """Which tokens end a text."""
    ends = lm.model.generation_config.eos_token_id
    if ends is None:
        return torch.zeros_like(tokens, dtype=torch.bool)
    return torch.isin(tokens, tokens.new_tensor(ends))
