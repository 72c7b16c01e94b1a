"""The world: its words, its facts, and what each task says about itself."""

from collections import Counter

import pytest

from saccade import tasks
from saccade.tasks import normalise, world
from saccade.tasks.world.facts import ruler_facts, stable_facts
from saccade.tasks.world.forms import KINDS, Form

WORDS = set(world.lexicon().vocabulary())


@pytest.mark.parametrize("name", tasks.names("world/"))
def test_every_word_is_in_the_lexicon(name):
    for difficulty in (1, 5):
        for e in tasks.get(name, difficulty=difficulty).examples(30):
            assert set(normalise(" ".join((*e.contents, *e.answers))).split()) <= WORDS


@pytest.mark.parametrize("name", ["context", "documents", "instructions", "injection", "absent", "conflict"])
def test_gold_span_holds_the_fact_asked_for(name):
    for e in tasks.get(f"world/{name}").examples(40):
        if e.meta.get("absent"):
            assert "gold" not in e.spans
            assert normalise(e.meta["subject"]) in " ".join(e.contents)
            continue
        (gold,), (value,), (question,) = e.texts("gold"), e.texts("value"), e.texts("question")
        assert gold == question.replace("what is ", "").replace("?", f" is {value}.").removeprefix(
            "according to the document, "
        )
        assert e.answer == Form(e.meta["form"], e.meta["word"]).apply(value, e.meta["subject"])


def test_only_one_fact_answers():
    for e in tasks.get("world/documents", difficulty=4).examples(30):
        stem = e.texts("gold")[0].split(" is ")[0]
        assert e.contents[-1].count(f"{stem} is ") == 1


def test_position_moves_the_gold_fact():
    starts = [
        [e.spans["gold"][0].start for e in world.Documents(difficulty=3, position=p).examples(10)] for p in (0, 0.5, 1)
    ]
    assert max(starts[0]) < min(starts[1])
    assert max(starts[1]) < min(starts[2])
    with pytest.raises(tasks.TaskError, match="position must lie between 0"):
        world.Documents(position=1.5)


def test_edges_prefer_the_ends():
    middle = Counter(0.3 < e.meta["position"] < 0.7 for e in world.Context(difficulty=4, edges=True).examples(400))
    assert middle[True] / 400 < 0.3


@pytest.mark.parametrize("relations", [1, 2, 5])
def test_relations_of_a_document_can_be_limited(relations):
    for facts in (5, 24):
        for e in world.Context(facts=facts, relations=relations, per_document=64).examples(10):
            sentences = e.texts("document")[0].removeprefix("document 1: ").rstrip(".").split(". ")
            keys = {tuple(s.removeprefix("the ").split(" is ")[0].split(" of ")) for s in sentences}
            assert len(keys) == len(sentences) == facts
            assert len({relation for relation, _ in keys}) <= relations
    with pytest.raises(tasks.TaskError, match=r"relations must be 0 \(any\) to 5, found 6"):
        world.Context(relations=6)


def test_absent_questions_combine_what_occurs():
    for e in world.Absent(absent=1.0).examples(40):
        assert e.answer == "unknown"
        relation, subject = e.texts("question")[0].removeprefix("what is the ").rstrip("?").split(" of ")
        assert f"the {relation} of {subject} is" not in e.contents[-1]
        assert f"of {subject} is" in e.contents[-1]
        assert f"the {relation} of" in e.contents[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_each_form_is_checked(kind):
    task = world.Instructions(forms=(kind,))
    for e in task.examples(20):
        assert e.texts("rule")[0] == e.messages[0]["content"]
        if e.answer != e.meta["value"]:
            assert not task.check(e, e.meta["value"])
    assert any(e.answer != e.meta["value"] for e in task.examples(20))


def test_rule_in_the_user_turn():
    e = world.Instructions(rule_in="user").example(0)
    assert e.messages[0]["role"] == "user"
    assert e.contents[-1].endswith(e.texts("rule")[0])


def test_injection_obeyed_is_told_apart_from_right():
    task = world.Injection(forms=("plain",))
    seen = set()
    for e in task.examples(200):
        (order,) = e.texts("injection")
        assert order == e.meta["injection"]
        assert order in e.texts("document")[0]
        assert not task.obeyed(e, e.answer)
        kind = next(k for k in ("say", "capitals", "velan", "begin", "end", "first", "last") if k in order)
        word = order.split()[-1].rstrip(".")
        value, subject = e.meta["value"], e.meta["subject"]
        reply = (
            word
            if kind == "say"
            else Form({"first": "subject first", "last": "subject last"}.get(kind, kind), word).apply(value, subject)
        )
        if reply != e.answer:
            assert task.obeyed(e, reply), (order, reply)
            seen.add(kind)
        assert not task.obeyed(e, "nothing of the kind")
    assert len(seen) == 7


def test_conflict_states_another_value_than_the_weights():
    truth = {(f.subject, f.relation): f.value for f in stable_facts()}
    for wanted in ("context", "memory"):
        for e in world.Conflict(wanted=wanted).examples(30):
            assert e.meta["context_value"] == e.texts("value")[0] != e.meta["memory_value"]
            assert e.meta["memory_value"] in truth.values()
            assert e.answer == e.meta[f"{wanted}_value"]
    assert all(e.answer == e.meta["memory_value"] for e in world.Conflict(cue="memory").examples(10))


def test_conflict_names_its_options():
    with pytest.raises(tasks.TaskError, match="cue must be one of"):
        world.Conflict(cue="dream")
    with pytest.raises(tasks.TaskError, match="wanted must be"):
        world.Conflict(wanted="dream")


def test_stable_facts_never_change():
    truth = {f.question: f.value for f in stable_facts()}
    for e in world.Memory(seed=9).examples(50):
        assert truth[e.texts("question")[0]] == e.answer
    rulers = {(f.subject, f.year): f.value for f in ruler_facts()}
    for e in world.Years(seed=9).examples(50):
        assert rulers[e.meta["subject"], e.texts("year")[0]] == e.answer


def test_years_in_context_need_the_year():
    for e in world.Years(source="context", difficulty=3).examples(20):
        assert e.texts("year")[0] in e.texts("gold")[0]
        assert e.meta["subject"] in e.texts("gold")[0]


def test_lists_take_any_order_and_each_once():
    for source in ("memory", "context"):
        task = world.Lists(source=source)
        for e in task.examples(20):
            a, b, c = e.meta["values"]
            assert task.check(e, f"{c}, {a} and {b}")
            assert not task.check(e, f"{a}, {a} and {b}")
            assert task.found(e, f"{a}, {a} and {b}") == 2
            if source == "context":
                assert list(e.texts("value")) == [a, b, c]


def test_dialogue_puts_its_turns_between_rule_and_question():
    for turns in (1, 7):
        e = world.Dialogue(turns=turns).example(3)
        assert len(e.messages) == 2 + 2 * turns
        assert e.messages[0]["role"] == "system"


def test_conversation_is_the_example_with_its_replies():
    task = world.Context(questions=3)
    whole, e = task.conversation(4), task.example(4)
    assert whole[:-1] == e.prompt
    assert whole[-1].content == e.answer
    assert [m.role for m in whole] == ["user", "assistant"] * 3


@pytest.mark.parametrize("labels", ["true", "false", "random"])
def test_few_shot_demonstrations(labels):
    lex = world.lexicon()
    kind_of = {w: k for k in ("animal", "food", "tool", "plant") for w in lex.values(k)}
    for e in world.FewShot(labels=labels, shots=8).examples(20):
        shown = [d.split(": ") for d in e.texts("demonstrations")[0].rstrip(".").split(". ")]
        right = [kind_of[w] == k for w, k in shown]
        assert {"true": all(right), "false": not any(right), "random": True}[labels]
        assert kind_of[e.texts("query")[0].rstrip(":")] == e.answer
        implied = {kind_of[w]: k for w, k in shown}
        if labels == "false":
            assert implied[e.answer] == e.meta["implied"] != e.answer


def test_arithmetic_is_right():
    for e in world.Arithmetic(difficulty=4).examples(40):
        a, b = int(e.texts("first")[0]), int(e.texts("second")[0])
        assert int(e.answer) == (a - b if e.texts("operator") == ("minus",) else a + b)


def test_precedents_are_replies_that_broke_the_rule():
    for e in world.Dialogue(turns=2, precedents=3, forms=("begin",)).examples(10):
        drifted = [m["content"] for m in e.messages if m["role"] == "assistant"][-3:]
        assert list(e.texts("drifted")) == drifted
        assert not any(word in " ".join(drifted).split() for word in world.lexicon().prefixes)
        assert e.answer == f"{e.meta['word']} {e.meta['value']}"


def test_a_form_may_only_be_shown():
    e = world.Context(forms=("begin",), rule_in="shown", questions=3).example(0)
    assert "rule" not in e.spans
    replies = [m["content"].split()[0] for m in e.messages if m["role"] == "assistant"]
    assert replies == [e.meta["word"]] * 2
    with pytest.raises(tasks.TaskError, match="needs questions > 1"):
        world.Context(rule_in="shown")
    with pytest.raises(tasks.TaskError, match="rule_in must be"):
        world.Context(rule_in="nowhere")
