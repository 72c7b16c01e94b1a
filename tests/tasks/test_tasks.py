"""Every task keeps the same promises."""

import random
from statistics import mean

import pytest

from saccade import tasks

NAMES = tasks.names()


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_the_issue_s_families_are_there():
    world = {
        "context",
        "memory",
        "conflict",
        "years",
        "documents",
        "instructions",
        "injection",
        "absent",
        "dialogue",
        "lists",
        "arithmetic",
        "fewshot",
    }
    assert {n.removeprefix("world/") for n in tasks.names("world/")} == world
    assert len(tasks.names("algorithmic/")) == 17


def test_same_seed_same_examples(name):
    first, again = (tasks.get(name, seed=5).examples(5) for _ in range(2))
    assert [(e.prompt, e.answers, dict(e.spans)) for e in first] == [
        (e.prompt, e.answers, dict(e.spans)) for e in again
    ]


def test_other_seeds_and_indices_differ(name):
    prompts = {str(e.prompt) for seed in (0, 1) for e in tasks.get(name, seed=seed, difficulty=3).examples(4)}
    assert len(prompts) >= 7


def test_oracle_is_always_right(name):
    for difficulty in (1, 3, 5):
        task = tasks.get(name, difficulty=difficulty)
        assert task.score(task.oracle, 20) == 1.0


def test_checker_refuses_wrong_answers(name):
    task = tasks.get(name)
    for example in task.examples(10):
        for wrong in ("", "nonsense", f"{example.answer} nonsense 12345 X99"):
            assert not task.check(example, wrong)


def test_random_baseline_is_near_its_stated_chance(name):
    task, rng = tasks.get(name, seed=2), random.Random(0)
    hits = [task.check(e, task.guess(e, rng)) for e in task.examples(300) for _ in range(5)]
    chance, error = task.chance, (task.chance * (1 - task.chance) / 1500) ** 0.5
    assert abs(mean(hits) - chance) < 5 * error + 0.01


def test_spans_lie_inside_their_messages(name):
    for example in tasks.get(name, difficulty=3).examples(10):
        assert example.spans
        for span, places in example.spans.items():
            assert places, span
            for place, text in zip(places, example.texts(span), strict=True):
                assert text
                assert text == text.strip()
                assert len(text) == place.stop - place.start


LONGER = sorted(set(NAMES) - {"world/memory", "world/arithmetic", "algorithmic/typoglycemia", "algorithmic/walls"})


@pytest.mark.parametrize("name", LONGER)
def test_difficulty_lengthens_the_prompt(name):
    fields = {"source": "context"} if name in ("world/years", "world/lists") else {}

    def length(difficulty):
        return mean(sum(map(len, e.contents)) for e in tasks.get(name, difficulty=difficulty, **fields).examples(8))

    lengths = [length(d) for d in (1, 2, 3, 4, 5)]
    assert lengths == sorted(lengths)
    assert lengths[-1] > 1.5 * lengths[0]


def test_difficulty_out_of_range_is_refused(name):
    with pytest.raises(tasks.TaskError, match=r"difficulty of .* must be 1 to 5, found 6"):
        tasks.get(name, difficulty=6)


def test_unknown_task_lists_the_known():
    with pytest.raises(tasks.TaskError, match=r"no task is named 'world/nothing'; there are .*world/context"):
        tasks.get("world/nothing")


def test_dataset_columns(name):
    datasets = pytest.importorskip("datasets")
    table = tasks.get(name).dataset(3)
    assert isinstance(table, datasets.Dataset)
    assert table.column_names == ["index", "messages", "answers", "spans"]
