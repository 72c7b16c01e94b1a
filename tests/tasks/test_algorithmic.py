"""The algorithmic tasks: the gold spans suffice to work out the answer, by another way than the task's own."""

import re

import numpy as np
import pytest

from saccade.tasks import TaskError, algorithmic


def each(task, count=30):
    return [(e, e.prompt.split()) for e in task.examples(count)]


def test_induction():
    for e, words in each(algorithmic.Induction(difficulty=3)):
        assert words[words.index(words[-1]) + 1] == e.answer == e.texts("gold")[0]
        assert e.texts("source") == (words[-1],)


def test_mqar():
    for e, words in each(algorithmic.MQAR(difficulty=3)):
        listed = dict(zip(words[:32:2], words[1:32:2], strict=True))
        assert listed[words[-1]] == e.answer == e.texts("gold")[0]


def test_flipflop_reads_are_consistent():
    for e, words in each(algorithmic.FlipFlop(difficulty=4)):
        bit = None
        for op, shown in zip(words[:-1:2], words[1:-1:2], strict=True):
            bit = shown if op == "w" else bit
            assert op != "r" or shown == bit
        assert bit == e.answer == e.texts("gold")[0]


def test_selective_copy():
    for e, words in each(algorithmic.SelectiveCopy(difficulty=3)):
        assert " ".join(w for w in words[:-1] if w != "_") == e.answer == " ".join(e.texts("gold"))


def test_counting():
    for e, _ in each(algorithmic.Counting(difficulty=4)):
        steps = e.prompt.split("; ")
        name = steps[-1].removeprefix("read ").rstrip(":")
        last = max(i for i, s in enumerate(steps) if s == f"set {name}")
        assert str(steps[last:].count(f"raise {name}")) == e.answer
        assert " ".join(e.texts("gold") if "gold" in e.spans else ()).count("raise") == int(e.answer)


@pytest.mark.parametrize("target", ["all", "first", "last"])
def test_find_block(target):
    for e, _ in each(algorithmic.FindBlock(target=target, difficulty=3)):
        *blocks, query = (set(b.split()) for b in e.prompt.replace("find", "").rstrip(":").split("."))
        (found,) = [b for b in blocks if query <= b]
        assert found == set(e.texts("gold")[0].split())
        assert (
            e.answer
            == {"all": e.texts("gold")[0], "first": e.texts("gold")[0][0], "last": e.texts("gold")[0][-1]}[target]
        )


def test_parity():
    for e, words in each(algorithmic.Parity()):
        assert (words.count("1") % 2 == 1) == (e.answer == "odd")


@pytest.mark.parametrize("labelled", [False, True])
def test_random_access(labelled):
    for e, words in each(algorithmic.RandomAccess(labelled=labelled)):
        items = words[:-2][1::2] if labelled else words[:-2]
        assert items[int(words[-1].rstrip(":"))] == e.answer == e.texts("gold")[0]


def test_hops():
    for difficulty in (1, 4):
        for e, _ in each(algorithmic.Hops(difficulty=difficulty)):
            *pairs, query = e.prompt.split(" ;")
            step = dict(p.strip().split(" > ") for p in pairs)
            here, *moves = query.split()
            for _ in moves:
                here = step[here]
            assert here == e.answer
            assert here in " ".join(e.texts("gold"))


def test_missing():
    task = algorithmic.Missing()
    for e, _ in each(task):
        listed = set(e.texts("items")[0].split())
        assert {str(i) for i in range(1, 17)} - listed == {e.answer}
        assert task.repeated(e, sorted(listed)[0])
        assert not task.repeated(e, e.answer)


def test_bursts():
    for burst in (1, 3):
        for e, _ in each(algorithmic.Bursts(novel=True, burst=burst)):
            labels = e.texts("gold")
            assert len(labels) == burst
            assert set(labels) == {e.answer}
    learnt = {}
    for e, words in each(algorithmic.Bursts(burst=0), 200):
        assert learnt.setdefault(words[-1].rstrip("0123456789"), e.answer) == e.answer
    with pytest.raises(TaskError, match="burst must be 0 to 4"):
        algorithmic.Bursts(burst=9)
    with pytest.raises(TaskError, match="novel labels"):
        algorithmic.Bursts(novel=True, burst=0)


def test_regression_is_solved_by_least_squares():
    for difficulty in (1, 4):
        task = algorithmic.Regression(difficulty=difficulty)
        assert task.score(task.least_squares, 50) == 1.0
    e = algorithmic.Regression(noise=0.5).example(0)
    assert np.abs(e.meta["x"] @ e.meta["weights"] - e.meta["y"])[:-1].max() > 0.05


def test_needle_families():
    for fields in ({}, {"keys": 4}, {"values": 3}, {"keys": 3, "values": 2}):
        for e, _ in each(algorithmic.Needle(**fields), 10):
            key = re.search(r"of (\w+)\?$", e.prompt).group(1)
            assert re.findall(rf"number of {key} is (\d+)", e.prompt) == list(e.texts("value")) == e.answer.split(", ")
            assert e.prompt.count("The secret number of") == fields.get("keys", 1) - 1 + fields.get("values", 1)
    depths = [algorithmic.Needle(depth=d).example(1).spans["gold"][0].start for d in (0.0, 0.5, 1.0)]
    assert depths == sorted(depths)
    assert depths[0] == 0


def test_variables():
    for e, _ in each(algorithmic.Variables(difficulty=2), 10):
        number, names = re.search(r"equal (\d+)\?", e.prompt).group(1), set()
        for left, right in re.findall(r"Let (X\d+) = (\w+)\.", e.prompt):
            if right == number or right in names:
                names.add(left)
        assert names == set(e.answer.split(", "))


@pytest.mark.parametrize("law", ["common", "frequent"])
def test_words(law):
    for difficulty in (1, 3):
        for e, _ in each(algorithmic.Words(law=law, difficulty=difficulty), 10):
            listed = e.prompt.split(" the 3 words")[0].split()
            ranked = sorted(set(listed), key=listed.count, reverse=True)
            assert set(ranked[:3]) == set(e.answer.split())
            assert listed.count(ranked[2]) > listed.count(ranked[3])


def test_typoglycemia_keeps_the_ends():
    for difficulty in (1, 5):
        for e, _ in each(algorithmic.Typoglycemia(difficulty=difficulty), 60):
            (shown,) = e.texts("scrambled")
            assert shown != e.answer
            assert sorted(shown) == sorted(e.answer)
            assert (shown[0], shown[-1]) == (e.answer[0], e.answer[-1])


def test_walls_have_herrings_and_one_answer():
    for difficulty in (1, 4):
        task = algorithmic.Walls(difficulty=difficulty)
        for e, _ in each(task, 5):
            assert e.meta["herrings"] >= difficulty - 1
            lines = e.answer.splitlines()
            swapped = "\n".join(reversed(lines))
            assert task.check(e, swapped)
            assert task.solved(e, swapped) == 4
            (a, *_), (b, *_) = (line.split(", ") for line in lines[:2])
            crossed = e.answer.replace(a, "?").replace(b, a).replace("?", b)
            assert not task.check(e, crossed)
            assert task.solved(e, crossed) == 2
