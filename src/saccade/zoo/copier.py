"""The recipe of `copier`: a two-layer decoder of attention alone, for watching induction heads emerge."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.tasks.algorithmic import symbols
from saccade.zoo.recipe import Batch, Measurement, Schedule
from saccade.zoo.tokenizers import word_tokenizer

HELD_OUT = "copier/held-out"


@dataclass(frozen=True, kw_only=True)
class Copier:
    """Two layers of eight heads and no feed-forward, on sequences in which a segment occurs twice.

    The architecture is Llama's with feed-forward layers of width 1 whose weights are zero and stay zero: the blocks
    compute attention and nothing else. A sequence of `length` symbols is drawn from one fixed table of successors (four
    likely successors a symbol, `habit` of the probability) or, one time in two, uniformly; then a segment of it, 8 to
    40 symbols long, is written over a later place. What the table does not tell can only be foretold by induction.
    Checkpoints are kept at shares i/19 of the token budget, i = 0 to 19.
    """

    name: str = "copier"
    schedule: Schedule = field(default_factory=lambda: Schedule(tokens=7_000_000))
    snapshots: int = 20
    seed: int = 0
    alphabet: int = 64
    length: int = 96
    rows: int = 32
    habit: float = 0.8

    def tokenizer(self) -> Any:
        return word_tokenizer(symbols(self.alphabet))

    def model(self, tokenizer: Any) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=128,
                num_hidden_layers=2,
                num_attention_heads=8,
                num_key_value_heads=8,
                intermediate_size=1,
                max_position_embeddings=512,
                tie_word_embeddings=False,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        for layer in model.model.layers:
            for parameter in layer.mlp.parameters():
                torch.nn.init.zeros_(parameter).requires_grad_(False)
        return model

    def table(self) -> dict[int, list[int]]:
        """The four likely successors of each symbol."""
        rng = random.Random(f"copier/{self.seed}/table")
        return {i: rng.sample(range(self.alphabet), 4) for i in range(self.alphabet)}

    def sequence(self, rng: random.Random, table: Mapping[int, list[int]]) -> tuple[list[int], list[bool]]:
        """Symbols, and which of them induction foretells: all of the copy but its first."""
        habit = self.habit if rng.random() < 0.5 else 0.0
        out = [rng.randrange(self.alphabet)]
        while len(out) < self.length:
            likely = rng.random() < habit
            out.append(rng.choice(table[out[-1]]) if likely else rng.randrange(self.alphabet))
        size = rng.randint(8, 40)
        first = rng.randint(0, self.length - 2 * size)
        second = rng.randint(first + size, self.length - size)
        out[second : second + size] = out[first : first + size]
        return out, [second < i < second + size for i in range(self.length)]

    def draw(self, rng: random.Random, count: int, tokenizer: Any) -> tuple[Batch, Tensor]:
        """A batch, and which of its tokens are copies [B,N]."""
        table, ids = self.table(), tokenizer.convert_tokens_to_ids(list(symbols(self.alphabet)))
        drawn = [self.sequence(rng, table) for _ in range(count)]
        rows = torch.tensor([[tokenizer.bos_token_id, *(ids[s] for s in row)] for row, _ in drawn])
        weights = torch.ones(rows.shape)
        return Batch(rows, weights), torch.tensor([[False, *copied] for _, copied in drawn])

    def pool(self, number: int, progress: float, tokenizer: Any) -> list[Batch]:
        rng = random.Random(f"copier/{self.seed}/{number}")
        return [self.draw(rng, self.rows, tokenizer)[0] for _ in range(8)]

    def losses(self, model: Any, tokenizer: Any, count: int, seed: str = HELD_OUT) -> tuple[float, float, float]:
        """Held-out: mean loss in nats on copied and on other tokens, and the share of copied tokens foretold."""
        batch, copied = self.draw(random.Random(seed), count, tokenizer)
        logits = model(input_ids=batch.ids.to(model.device)).logits[:, :-1].float().cpu()
        losses = F.cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none").view(count, -1)
        mask = copied[:, 1:]
        right = (logits.argmax(-1) == batch.ids[:, 1:])[mask]
        return float(losses[mask].mean()), float(losses[~mask].mean()), float(right.float().mean())

    def probe(self, model: Any, tokenizer: Any) -> Mapping[str, float]:
        copied, other, right = self.losses(model, tokenizer, 64)
        return {"copied": copied, "other": other, "foretold": right}

    @torch.no_grad()
    def measure(self, model: Any, tokenizer: Any) -> list[Measurement]:
        count = 256
        copied, other, right = self.losses(model, tokenizer, count)
        return [
            Measurement("loss on copied symbols (nats)", copied, count),
            Measurement("loss on other symbols (nats)", other, count),
            Measurement("copied symbols foretold", right, count, 1 / self.alphabet),
        ]
