"""What the reader can do and how it fails: the table of its card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from saccade.tasks import Example, world
from saccade.tasks.world.base import WorldTask
from saccade.tasks.world.forms import KINDS
from saccade.zoo.evaluate import replies
from saccade.zoo.recipe import Measurement

TEST_SEED = 1
Failure = tuple[str, Callable[[Example, str], bool]]
Row = tuple[str, WorldTask, tuple[Failure, ...]]


def phenomena(model: Any, tokenizer: Any, count: int = 200) -> list[Measurement]:
    """Accuracy of greedy replies on `count` fresh examples a row, and the shares of the known ways to fail."""
    measured = []
    for what, task, failures in rows():
        examples = task.examples(count)
        made = list(zip(examples, replies(model, tokenizer, examples), strict=True))
        measured.append(Measurement(what, sum(task.check(e, r) for e, r in made) / count, count, task.chance))
        for name, failed in failures:
            measured.append(Measurement(f"{what}: {name}", sum(failed(e, r) for e, r in made) / count, count))
    return measured


def rows() -> tuple[Row, ...]:
    """What is measured: a line of the table, its task, and the ways to fail that are counted."""
    return (*retrieval(), *obedience(), *honesty(), *knowledge())


def retrieval() -> Iterator[Row]:
    """Reading, by length and by position."""
    for facts in (4, 8, 16, 32, 48, 80):
        yield f"answer from a document of {facts} facts", world.Context(facts=facts, seed=TEST_SEED), ()
    for level, documents in ((4, 12), (5, 16)):
        for position in (0.0, 0.25, 0.5, 0.75, 1.0):
            task = world.Documents(difficulty=level, position=position, seed=TEST_SEED)
            yield f"{documents} documents, answer at {position:.0%}", task, ()
    yield "facts by year from a document of 8", world.Years(source="context", seed=TEST_SEED), ()
    yield "lists of towns from a document", world.Lists(source="context", seed=TEST_SEED), ()


def obedience() -> Iterator[Row]:
    """Following instructions: among facts, against injections, over long dialogues, against its own replies."""
    for level, facts in zip((1, 2, 3, 4), (4, 8, 16, 32), strict=True):
        yield f"instruction on form, {facts} facts", world.Instructions(difficulty=level, seed=TEST_SEED), ()
    yield (
        "instruction on form in the user's turn, 8 facts",
        world.Instructions(difficulty=2, rule_in="user", seed=TEST_SEED),
        (),
    )
    for forms, rule in ((("plain",), "no instruction"), (KINDS, "an instruction")):
        for number in (0, 1, 3):
            task = world.Injection(difficulty=2, injected=number, forms=forms, seed=TEST_SEED)
            failures: tuple[Failure, ...] = (("injection obeyed", task.obeyed),) if number else ()
            yield f"{rule}, 8 facts with {number} injections", task, failures
    for turns in (1, 8, 16, 32, 48, 64, 100):
        yield f"instruction followed after {turns} turns", world.Dialogue(turns=turns, seed=TEST_SEED), ()
    for precedents in (1, 4, 8, 12):
        task_with = world.Dialogue(turns=2, precedents=precedents, seed=TEST_SEED)
        yield f"instruction followed after {precedents} replies that did not", task_with, ()


def honesty() -> Iterator[Row]:
    """Saying `unknown`, and which source to believe."""
    for level, facts in ((2, 8), (4, 32)):
        absent = world.Absent(difficulty=level, absent=1.0, seed=TEST_SEED)
        yield f"`unknown` where {facts} facts do not answer", absent, (("invented", absent.invented),)
        yield f"answer where {facts} facts do", world.Absent(difficulty=level, absent=0.0, seed=TEST_SEED), ()
    for wanted in ("context", "memory"):
        task = world.Conflict(wanted=wanted, seed=TEST_SEED)
        yield f"document against weights, no cue, says {wanted}", task, ()
    for cue in ("context", "memory"):
        yield f"document against weights, asked for {cue}", world.Conflict(cue=cue, seed=TEST_SEED), ()
    for labels in ("true", "random", "false"):
        for shots in (4, 8, 16):
            task_shots = world.FewShot(shots=shots, labels=labels, seed=TEST_SEED)
            yield f"true label after {shots} {labels} demonstrations", task_shots, ()


def knowledge() -> Iterator[Row]:
    """What is in the weights."""
    yield "stable facts from the weights", world.Memory(seed=TEST_SEED), ()
    yield "stable facts that change by year, from the weights", world.Years(seed=TEST_SEED), ()
    yield "lists of towns from the weights", world.Lists(seed=TEST_SEED), ()
    for level in (2, 3, 4):
        task = world.Arithmetic(difficulty=level, seed=TEST_SEED)
        yield f"arithmetic up to {task.top}", task, ()
