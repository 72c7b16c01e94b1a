"""The recipe of `coder`: a byte-pair language model of the Python standard library's own source."""

from __future__ import annotations

import lzma
import math
import random
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from saccade.zoo.recipe import Batch, Measurement, Schedule, ZooError
from saccade.zoo.tokenizers import SPECIALS, byte_pair_tokenizer

HELD_OUT = "coder/held-out"
LEFT_OUT = {
    "encodings",
    "pydoc_data",
    "test",
    "tests",
    "site-packages",
    "dist-packages",
    "idlelib",
    "lib2to3",
    "turtledemo",
    "ensurepip",
    "__pycache__",
}


@lru_cache(maxsize=1)
def sources() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts of the running Python's standard library, without its tests: for training, and every twentieth held out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(p for p in root.rglob("*.py") if not LEFT_OUT & set(p.relative_to(root).parts))
    if len(files) < 100:
        raise ZooError(
            f"only {len(files)} source files under {root}: this Python ships without its standard library's source"
        )
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in files]
    return tuple(t for i, t in enumerate(texts) if i % 20), tuple(texts[::20])


@dataclass(frozen=True, kw_only=True)
class Coder:
    """Four layers, eight heads over four, 2.2 M parameters, byte-level BPE of 2,048 tokens.

    Windows of `length` tokens at random places of the Python standard library's source (the version that runs the
    recipe, without tests and tables); every twentieth file is held out. Every token counts alike.

    The shipped weights began with a budget of 10 M tokens, cut to 8 M after 16 steps: their learning rate was until
    then 0.2% of its peak off what the recipe says.
    """

    name: str = "coder"
    schedule: Schedule = field(default_factory=lambda: Schedule(tokens=8_000_000, warmup=0.0125))
    snapshots: int = 0
    seed: int = 0
    vocabulary: int = 2048
    length: int = 512
    rows: int = 12

    def tokenizer(self) -> Any:
        return byte_pair_tokenizer(sources()[0], self.vocabulary)

    def model(self, tokenizer: Any) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=192,
                num_hidden_layers=4,
                num_attention_heads=8,
                num_key_value_heads=4,
                head_dim=32,
                intermediate_size=512,
                max_position_embeddings=4096,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )

    @staticmethod
    @lru_cache(maxsize=2)
    def stream(held_out: bool, tokenizer: Any) -> torch.Tensor:
        """All texts as one row of ids, each begun with `<s>`."""
        ids: list[int] = []
        for text in sources()[int(held_out)]:
            ids += [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        return torch.tensor(ids)

    def windows(self, rng: random.Random, count: int, length: int, held_out: bool, tokenizer: Any) -> torch.Tensor:
        stream = self.stream(held_out, tokenizer)
        return torch.stack(
            [stream[at : at + length] for at in (rng.randrange(len(stream) - length) for _ in range(count))]
        )

    def pool(self, number: int, progress: float, tokenizer: Any) -> list[Batch]:
        rng = random.Random(f"coder/{self.seed}/{number}")
        rows = [self.windows(rng, self.rows, self.length, False, tokenizer) for _ in range(8)]
        return [Batch(ids, torch.ones(ids.shape)) for ids in rows]

    @torch.no_grad()
    def losses(self, model: Any, tokenizer: Any, count: int, seed: str = HELD_OUT) -> tuple[torch.Tensor, torch.Tensor]:
        """Held-out windows [count, length], and the loss in nats of each token but the first [count, length - 1]."""
        windows = self.windows(random.Random(seed), count, self.length, True, tokenizer)
        out = []
        for ids in windows.split(4):
            logits = model(input_ids=ids.to(model.device)).logits[:, :-1].float().cpu()
            out.append(F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1))
        return windows, torch.cat(out)

    def bigram_losses(self, windows: torch.Tensor, tokenizer: Any, weight: float = 64.0) -> torch.Tensor:
        """Loss in nats of the same tokens by counts of the training files.

        p(b | a) = (n(ab) + w p(b)) / (n(a) + w), where p(b) = (n(b) + 1) / (n + vocabulary).
        """
        stream, size = self.stream(False, tokenizer), len(tokenizer)
        single = torch.bincount(stream, minlength=size).double()
        pairs = torch.bincount(stream[:-1] * size + stream[1:], minlength=size * size).view(size, size).double()
        alone = (single + 1) / (single.sum() + size)
        first, second = windows[:, :-1], windows[:, 1:]
        return -((pairs[first, second] + weight * alone[second]) / (pairs.sum(1)[first] + weight)).log()

    def probe(self, model: Any, tokenizer: Any) -> Mapping[str, float]:
        return {"held_out": float(self.losses(model, tokenizer, 16)[1].mean())}

    def measure(self, model: Any, tokenizer: Any) -> list[Measurement]:
        count = 64
        windows, losses = self.losses(model, tokenizer, count)
        sizes = torch.tensor(
            [0 if t in SPECIALS else len(t) for t in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
        )
        written = sizes[windows[:, 1:]].sum()
        per_byte = 1 / (written * math.log(2))
        held_out = "".join(sources()[1]).encode()
        return [
            Measurement("held-out loss (nats a token)", float(losses.mean()), count),
            Measurement("held-out perplexity", float(losses.mean().exp()), count),
            Measurement("bytes a token", float(written / losses.numel()), count),
            Measurement("held-out bits a byte", float(losses.sum() * per_byte), count),
            Measurement(
                "bits a byte by pairs of tokens counted in the training files",
                float(self.bigram_losses(windows, tokenizer).sum() * per_byte),
                count,
            ),
            Measurement(
                "bits a byte of all held-out files by xz -9",
                8 * len(lzma.compress(held_out, preset=9)) / len(held_out),
                1,
            ),
            Measurement("loss at tokens 10 to 50 of a window", float(losses[:, 10:50].mean()), count),
            Measurement("loss at tokens 400 to 511 of a window", float(losses[:, 400:].mean()), count),
        ]
