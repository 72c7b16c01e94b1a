"""The recipes of `reader-base` and `reader`: a small Llama that reads documents of the synthetic world."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saccade.tasks import Message, normalise, world
from saccade.tasks.world.base import WorldTask
from saccade.tasks.world.forms import KINDS
from saccade.zoo.evaluate import accuracy
from saccade.zoo.phenomena import TEST_SEED, phenomena
from saccade.zoo.recipe import Batch, Measurement, Schedule, pad
from saccade.zoo.store import load
from saccade.zoo.tokenizers import word_tokenizer


def _log_uniform(rng: random.Random, low: int, high: int) -> int:
    return min(high, int(low * ((high + 1) / low) ** rng.random()))


PARTS = ("reading", "conflict", "memory", "dialogue", "years", "lists", "arithmetic", "fewshot")


@dataclass(frozen=True)
class Stage:
    """A share of the budget.

    `until`: where it ends; `facts` and `questions`: the most of them; `weights` of `PARTS`; `relations`: how many a
    document may be limited to, one drawn for each (0: any).
    """

    until: float
    facts: int
    questions: int
    weights: tuple[float, ...]
    relations: tuple[int, ...] = (0,)


@dataclass(frozen=True, kw_only=True)
class ReaderBase:
    """Five layers, eight heads over four, 1.8 M parameters, one token a word.

    Each training conversation is a task of the world with several questions. Every token of a reply weighs 1 in the
    loss and every other token `context_weight`. Documents grow from 5 to 32 facts while training goes on, and the first
    fifth of the budget has plain answers only. Later half of the conversations have an instruction on form, in the
    system part or after each question. The fact asked for stands near the first or last document more often than in the
    middle. Where a document contradicts the weights and the question names no source, the answer is the document's six
    times in ten. One document in ten holds an injected instruction, which the reply ignores. Retrieval is not learned
    gradually: accuracy on 16 facts stays near 0.4 up to 4 M tokens, then rises to 0.9 within one million.

    The shipped weights were trained before some tasks drew their random numbers in another order: the command makes a
    model of the same recipe, not the same bits.
    """

    name: str = "reader-base"
    schedule: Schedule = field(default_factory=lambda: Schedule(tokens=10_000_000, rate=3e-3, warmup=0.02, decay=0.6))
    snapshots: int = 0
    seed: int = 0
    batch_tokens: int = 4096
    context_weight: float = 0.05
    stages: tuple[Stage, ...] = (
        Stage(0.20, 5, 5, (0.85, 0.00, 0.05, 0.00, 0.00, 0.00, 0.10, 0.00)),
        Stage(0.39, 8, 10, (0.50, 0.08, 0.08, 0.10, 0.08, 0.06, 0.04, 0.06)),
        Stage(0.60, 16, 14, (0.56, 0.12, 0.03, 0.12, 0.05, 0.03, 0.04, 0.05)),
        Stage(1.01, 32, 14, (0.58, 0.12, 0.03, 0.12, 0.04, 0.02, 0.04, 0.05)),
    )
    plain_until: float = 0.20
    rules: tuple[str, ...] = ("system", "system", "system", "user")
    injected: float = 0.1
    turns: int = 6

    def tokenizer(self) -> Any:
        return word_tokenizer(world.lexicon().vocabulary())

    def model(self, tokenizer: Any) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=160,
                num_hidden_layers=5,
                num_attention_heads=8,
                num_key_value_heads=4,
                head_dim=32,
                intermediate_size=448,
                max_position_embeddings=2048,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )

    def task(self, rng: random.Random, progress: float) -> WorldTask:
        """The next task of the mixture."""
        stage = next(s for s in self.stages if progress < s.until)
        early = progress < self.plain_until
        facts = _log_uniform(rng, 2 if early else 3, stage.facts)
        questions = facts if early else min(facts, rng.randint(2, stage.questions))
        seed = rng.getrandbits(40)
        ruled = not early and rng.random() < 0.5
        rule: dict[str, Any] = {"forms": KINDS if ruled else ("plain",), "rule_in": rng.choice(self.rules)}
        kind = rng.choices(PARTS, stage.weights)[0]
        match kind:
            case "reading":
                return world.Context(
                    seed=seed,
                    facts=facts,
                    questions=questions,
                    edges=True,
                    per_document=rng.choice((3, 3, 4, 64)),
                    absent=0.0 if early else 0.15,
                    stable=rng.choice((0.0, 0.0, 0.3)),
                    relations=rng.choice(stage.relations),
                    injected=int(not early and rng.random() < self.injected),
                    **rule,
                )
            case "conflict":
                return world.Conflict(
                    seed=seed,
                    facts=facts,
                    questions=rng.randint(2, max(2, facts // 2)),
                    per_document=rng.choice((3, 64)),
                    cue=rng.choice(("none", "context", "memory")),
                    wanted="either",
                    **(rule if rng.random() < 0.3 else {}),
                )
            case "memory":
                return world.Memory(seed=seed, questions=rng.randint(4, 10), **rule)
            case "dialogue":
                return world.Dialogue(seed=seed, turns=rng.randint(1, self.turns), questions=rng.randint(2, 4), **rule)
            case "years":
                source = rng.choice(("memory", "context"))
                facts = facts if source == "context" else 8
                return world.Years(
                    seed=seed, source=source, facts=facts, questions=rng.randint(2, min(8, facts)), per_document=3
                )
            case "lists":
                return world.Lists(
                    seed=seed,
                    source=rng.choice(("memory", "context")),
                    questions=rng.randint(1, 4),
                    difficulty=rng.randint(1, 3),
                )
            case "arithmetic":
                return world.Arithmetic(seed=seed, questions=rng.randint(4, 8), difficulty=rng.randint(1, 4))
        labels = rng.choices(("true", "false", "random"), (0.6, 0.25, 0.15))[0]
        return world.FewShot(
            seed=seed, shots=rng.randint(4, 20), questions=rng.randint(2, 6), labels=labels, follow=True
        )

    def pool(self, number: int, progress: float, tokenizer: Any) -> list[Batch]:
        """Sixteen batches of conversations of like length."""
        rng = random.Random(f"{self.name}/{self.seed}/{number}")
        encode = Encoder(tokenizer, self.context_weight)
        rows, total = [], 0
        while total < 16 * self.batch_tokens:
            rows.append(encode(self.task(rng, progress).conversation(0)))
            total += len(rows[-1][0])
        rows.sort(key=lambda row: len(row[0]))
        batches: list[Batch] = []
        group: list[tuple[list[int], list[float]]] = []
        for row in rows:
            if group and (len(group) + 1) * len(row[0]) > self.batch_tokens:
                batches.append(pad(group, tokenizer.pad_token_id))
                group = []
            group.append(row)
        rng.shuffle(batches)
        return batches

    def probe(self, model: Any, tokenizer: Any) -> Mapping[str, float]:
        tasks: dict[str, WorldTask] = {
            "context1": world.Context(seed=TEST_SEED, difficulty=1),
            "context3": world.Context(seed=TEST_SEED, difficulty=3),
            "instructions2": world.Instructions(seed=TEST_SEED, difficulty=2),
            "memory": world.Memory(seed=TEST_SEED),
            "absent2": world.Absent(seed=TEST_SEED),
            "fewshot": world.FewShot(seed=TEST_SEED),
            "arithmetic": world.Arithmetic(seed=TEST_SEED, difficulty=3),
            "years": world.Years(seed=TEST_SEED),
            "lists": world.Lists(seed=TEST_SEED),
            "injection2": world.Injection(seed=TEST_SEED, forms=KINDS),
            "middle4": world.Documents(seed=TEST_SEED, difficulty=4, position=0.5),
            "precedents": world.Dialogue(seed=TEST_SEED, precedents=3),
        }
        return {name: accuracy(model, tokenizer, task, 64, batch=64) for name, task in tasks.items()}

    def measure(self, model: Any, tokenizer: Any) -> list[Measurement]:
        return phenomena(model, tokenizer)


@dataclass(frozen=True, kw_only=True)
class Reader(ReaderBase):
    """`reader-base`, trained on with another mixture until it has weaknesses of its own.

    1.2 M tokens more. Documents of up to 16 facts, a quarter of them of one relation only. Half of the conversations
    have an instruction on form: in the system part, before the documents, after each question, or only shown by the
    replies before. Dialogues have up to 4 turns. No document holds an injected instruction any more, and no reply
    breaks an instruction: what the model makes of injections, of longer dialogues, of longer documents and of false
    demonstrations is its own.
    """

    name: str = "reader"
    schedule: Schedule = field(default_factory=lambda: Schedule(tokens=1_200_000, rate=1e-3, warmup=0.05, decay=0.6))
    stages: tuple[Stage, ...] = (Stage(1.01, 16, 14, (0.50, 0.12, 0.04, 0.12, 0.04, 0.03, 0.03, 0.12), (0, 0, 0, 1)),)
    plain_until: float = 0.0
    rules: tuple[str, ...] = ("system", "system", "before", "before", "user", "shown")
    injected: float = 0.0
    turns: int = 4

    def model(self, tokenizer: Any) -> Any:
        return load("reader-base")[0].train()


class Encoder:
    """Conversations to ids and loss weights, as the chat template would, but by dictionary (tested to be equal)."""

    def __init__(self, tokenizer: Any, context_weight: float) -> None:
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.context_weight = context_weight

    def __call__(self, messages: Sequence[Message]) -> tuple[list[int], list[float]]:
        ids, weights = [self.ids["<s>"]], [0.0]
        for message in messages:
            words = [self.ids[w] for w in _words(message.content)]
            own = message.role == "assistant"
            ids += [self.ids[f"<|{message.role}|>"], *words, self.ids["<|end|>"]]
            weight = 1.0 if own else self.context_weight
            weights += [self.context_weight, *([weight] * (len(words) + 1))]
        return ids, weights


def _words(text: str) -> list[str]:
    words = normalise(text).split()
    return [*words, "."] if text.endswith(".") else words
