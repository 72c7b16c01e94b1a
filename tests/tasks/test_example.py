"""The example type: ranges, markup, errors."""

import pytest

from saccade.tasks import Example, Message, Place, Script, TaskError, normalise, register
from saccade.tasks.algorithmic import Parity


def chat():
    messages = (Message("system", "be brief."), Message("user", "the sky is blue. what is the sky?"))
    return Example(
        messages, ("blue",), {"rule": (Place(0, 0, 9),), "gold": (Place(1, 0, 16),), "value": (Place(1, 11, 15),)}
    )


def test_text_ranges_follow_a_rendered_template():
    e = chat()
    text = "<s><|system|>be brief.<|end|><|user|>the sky is blue. what is the sky?<|end|>"
    found = {n: [text[a:b] for a, b in r] for n, r in e.text_ranges(text).items()}
    assert found == {"rule": ["be brief."], "gold": ["the sky is blue."], "value": ["blue"]}


def test_text_ranges_refuse_a_template_that_rewrites():
    with pytest.raises(TaskError, match=r"message 1 .* is not in the rendered text"):
        chat().text_ranges("be brief. the sky was blue")


def test_marked_writes_markup_and_refuses_overlap():
    assert chat().marked("rule", "value")[1]["content"] == "the sky is [[value|blue]]. what is the sky?"
    with pytest.raises(TaskError, match="'gold' and 'value' overlap"):
        chat().marked()


def test_ranges_are_for_plain_prompts():
    assert Example("a b", ("c",), {"x": (Place(0, 2, 3),)}).ranges() == {"x": [(2, 3)]}
    with pytest.raises(TaskError, match="conversation"):
        chat().ranges()


def test_missing_span_names_the_present():
    with pytest.raises(TaskError, match=r"no span 'nothing'.*\['gold', 'rule', 'value'\]"):
        chat().texts("nothing")


def test_script_joins_neighbours_of_one_name():
    s = Script()
    for word in ("one", "two"):
        s.write("user", word, "count")
    s.write("user", "and")
    s.write("user", "three", "count")
    assert s.spans["count"] == [Place(0, 0, 7), Place(0, 12, 17)]


def test_script_must_end_with_the_answer():
    s = Script()
    s.write("user", "why?")
    with pytest.raises(TaskError, match="must end with the assistant"):
        s.example()
    s.write("assistant", "because")
    assert s.example().answers == ("because",)
    with pytest.raises(TaskError, match="2 turns"):
        s.plain("x")


def test_normalise_forgives_spacing_and_the_full_stop_only():
    assert normalise(" A , B and  C. ") == normalise("A, B and C")
    assert normalise("teslo") != normalise("Teslo")


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(TaskError, match="two tasks are named 'algorithmic/parity'"):
        register(Parity)
