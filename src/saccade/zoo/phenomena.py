"""What the reader can do and how it fails: the table of its card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saccade.tasks import Example, world
from saccade.tasks.world.base import WorldTask
from saccade.zoo.evaluate import replies
from saccade.zoo.recipe import Measurement

TEST_SEED = 1


def phenomena(model: Any, tokenizer: Any, count: int = 200) -> list[Measurement]:
    """Accuracy of greedy replies on `count` fresh examples a row, and the shares of the known ways to fail."""
    rows: list[Measurement] = []

    def ask(what: str, task: WorldTask, *others: tuple[str, Callable[[Example, str], bool]], n: int = count) -> None:
        examples = task.examples(n)
        made = replies(model, tokenizer, examples)
        rows.append(Measurement(what, _share(task.check, examples, made), n, task.chance))
        rows.extend(Measurement(f"{what}: {name}", _share(test, examples, made), n) for name, test in others)

    for level, facts in zip((1, 2, 3, 4, 5), (4, 8, 16, 32, 48), strict=True):
        ask(f"answer from a document of {facts} facts", world.Context(difficulty=level, seed=TEST_SEED))
    for position in (0.0, 0.25, 0.5, 0.75, 1.0):
        ask(f"12 documents, answer at {position:.0%}", world.Documents(difficulty=4, position=position, seed=TEST_SEED))
    for level, facts in zip((1, 2, 3, 4), (4, 8, 16, 32), strict=True):
        ask(f"instruction on form, {facts} facts", world.Instructions(difficulty=level, seed=TEST_SEED))
    ask(
        "instruction on form in the user's turn, 8 facts",
        world.Instructions(difficulty=2, rule_in="user", seed=TEST_SEED),
    )
    for number in (0, 1, 3):
        task = world.Injection(difficulty=3, injected=number, seed=TEST_SEED)
        others = (("injection obeyed", task.obeyed),) if number else ()
        ask(f"16 facts with {number} injections", task, *others)
    for turns in (1, 4, 8, 16, 32):
        ask(f"instruction followed after {turns} turns", world.Dialogue(turns=turns, seed=TEST_SEED))
    for level, facts in ((2, 8), (4, 32)):
        absent = world.Absent(difficulty=level, absent=1.0, seed=TEST_SEED)
        ask(f"`unknown` where {facts} facts do not answer", absent, ("invented", absent.invented))
        ask(f"answer where {facts} facts do", world.Absent(difficulty=level, absent=0.0, seed=TEST_SEED))
    ask("stable facts from the weights", world.Memory(seed=TEST_SEED))
    ask("stable facts that change by year, from the weights", world.Years(seed=TEST_SEED))
    ask("facts by year from a document of 8", world.Years(source="context", seed=TEST_SEED))
    ask("lists of towns from the weights", world.Lists(seed=TEST_SEED))
    ask("lists of towns from a document", world.Lists(source="context", seed=TEST_SEED))
    for cue in ("none", "context", "memory"):
        for wanted in ("context", "memory") if cue == "none" else ("context",):
            ask(
                f"document against weights, cue {cue}, says {wanted if cue == 'none' else cue}",
                world.Conflict(cue=cue, wanted=wanted, seed=TEST_SEED),
            )
    for level in (2, 3, 4):
        ask(
            f"arithmetic up to {world.Arithmetic(difficulty=level).top}",
            world.Arithmetic(difficulty=level, seed=TEST_SEED),
        )
    for labels in ("true", "random", "false"):
        for shots in (4, 8, 16):
            ask(
                f"true label after {shots} {labels} demonstrations",
                world.FewShot(shots=shots, labels=labels, seed=TEST_SEED),
            )
    return rows


def _share(test: Callable[[Example, str], bool], examples: list[Example], made: list[str]) -> float:
    return sum(test(e, r) for e, r in zip(examples, made, strict=True)) / len(examples)
