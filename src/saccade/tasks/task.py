"""What all tasks share: deterministic examples, a checker, and two baselines."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

from saccade.tasks.example import Example, TaskError, normalise

_REGISTRY: dict[str, type[Task]] = {}


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A generator of examples with known answers.

    Example number i depends on the task's name, its fields and i alone. `difficulty` 1 to 5 makes prompts longer or
    harder. `chance` is the expected accuracy of `guess`, which knows the form of the answers and not their content.
    """

    seed: int = 0
    difficulty: int = 2

    name: ClassVar[str]
    papers: ClassVar[tuple[int, ...]] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.difficulty <= 5:
            raise TaskError(f"difficulty of {self.name} must be 1 to 5, found {self.difficulty}")

    @abstractmethod
    def build(self, rng: random.Random) -> Example:
        """Make one example from the given source of randomness."""

    @abstractmethod
    def guess(self, example: Example, rng: random.Random) -> str:
        """A reply at random among those of the right form."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """Expected accuracy of `guess`."""

    def rng(self, index: int, purpose: str = "example") -> random.Random:
        return random.Random(f"{self!r}/{purpose}/{index}")

    def example(self, index: int) -> Example:
        return self.build(self.rng(index))

    def examples(self, count: int, start: int = 0) -> list[Example]:
        return [self.example(i) for i in range(start, start + count)]

    def __iter__(self) -> Iterator[Example]:
        index = 0
        while True:
            yield self.example(index)
            index += 1

    def check(self, example: Example, reply: str) -> bool:
        """Whether a reply is right: one of the answers, up to spacing and a final full stop."""
        return normalise(reply) in {normalise(a) for a in example.answers}

    def oracle(self, example: Example) -> str:
        """The reply of one who knows."""
        return example.answer

    def score(self, reply: Callable[[Example], str], count: int, start: int = 0) -> float:
        """Accuracy of a function from examples to replies."""
        return sum(self.check(e, reply(e)) for e in self.examples(count, start)) / count

    def dataset(self, count: int, start: int = 0) -> Any:
        """The examples as a `datasets.Dataset` with columns messages, answers, spans, index (needs `datasets`)."""
        try:
            import pyarrow
            from datasets import Dataset
        except ImportError as error:
            raise TaskError("Task.dataset needs the package `datasets`: pip install datasets") from error
        rows = [
            {
                "index": start + i,
                "messages": e.messages,
                "answers": list(e.answers),
                "spans": [
                    {"name": n, "message": p.message, "start": p.start, "stop": p.stop}
                    for n, places in e.spans.items()
                    for p in places
                ],
            }
            for i, e in enumerate(self.examples(count, start))
        ]
        fingerprint = sha256(f"{self!r}/{start}/{count}".encode()).hexdigest()[:16]
        return Dataset(pyarrow.Table.from_pylist(rows), fingerprint=fingerprint)


def register(cls: type[Task]) -> type[Task]:
    """Class decorator: make the task known by its name."""
    if cls.name in _REGISTRY:
        raise TaskError(f"two tasks are named {cls.name!r}")
    _REGISTRY[cls.name] = cls
    return cls


def names(prefix: str = "") -> tuple[str, ...]:
    """Names of all tasks, or of those that begin with `prefix`."""
    return tuple(sorted(n for n in _REGISTRY if n.startswith(prefix)))


def get(name: str, **fields: Any) -> Task:
    """The task of that name with the given fields.

    >>> from saccade import tasks
    >>> tasks.get("world/context", seed=3).example(0).answer == tasks.get("world/context", seed=3).example(0).answer
    True
    """
    if name not in _REGISTRY:
        raise TaskError(f"no task is named {name!r}; there are {', '.join(names())}")
    return _REGISTRY[name](**fields)
