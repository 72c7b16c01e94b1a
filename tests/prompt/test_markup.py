import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.core.errors import PromptError
from saccade.prompt import literal, mark
from saccade.prompt.markup import parse

noisy = st.text(st.sampled_from("ab[]|=\\ \n"), max_size=30)
names = st.sampled_from(["a", "rule", "b_1", "x.y", "é"])


@pytest.mark.parametrize(
    ("text", "plain", "ranges"),
    [
        ("no markup", "no markup", {}),
        ("[[a|x]]", "x", {"a": ((0, 1),)}),
        ("[[a|x]] and [[a|y]]", "x and y", {"a": ((0, 1), (6, 7))}),
        ("[[a|x [[b|y]] z]]", "x y z", {"a": ((0, 5),), "b": ((2, 3),)}),
        ("[[a|[[b|y]]]]", "y", {"a": ((0, 1),), "b": ((0, 1),)}),
        (r"\[[a|x]]", "[[a|x]]", {}),
        (r"\\[[a|x]]", "\\x", {"a": ((1, 2),)}),
        (r"[[a|x \]] y]]", "x ]] y", {"a": ((0, 6),)}),
        (r"[[a|x\\]]", "x\\", {"a": ((0, 2),)}),
        (r"[[a|\[[b|y]] z]]", "[[b|y]] z", {"a": ((0, 9),)}),
        ("[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]", {}),
        ("[[m|[[1, 2], [3, 4]]]]", "[[1, 2], [3, 4]]", {"m": ((0, 16),)}),
        ("[[m|a[b[0]]]]]", "a[b[0]]]", {"m": ((0, 7),)}),
        ("if [[ -z x ]] then", "if [[ -z x ]] then", {}),
        (r"\[ x^2 \] and [[eq|\[ y \]]]", r"\[ x^2 \] and \[ y \]", {"eq": ((14, 21),)}),
        ("[=[a|[[b|x]] [0, 1)]=]", "[[b|x]] [0, 1)", {"a": ((0, 14),)}),
        ("[==[a|x]=]]==]", "x]=]", {"a": ((0, 4),)}),
        ("[=[|[[b|x]]]=]!", "[[b|x]]!", {}),
        ("[[a|x [=[b|]]]=] y]]", "x ]] y", {"a": ((0, 6),), "b": ((2, 4),)}),
        ("a [[b| ", None, "never closed"),
        ("[[b|[0, 1)]]", None, "Brackets balance"),
        ("[=[b|x]]", None, "']=]'"),
        ("[[b|]]", None, "is empty"),
        ("[=[b|]=]", None, "is empty"),
        ("[[a|[[b|x]]", None, "at character 0"),
    ],
)
def test_grammar(text, plain, ranges):
    if plain is None:
        with pytest.raises(PromptError, match=ranges.replace("[", r"\[")):
            parse(text)
    else:
        found = parse(text)
        assert (found.plain, dict(found.ranges)) == (plain, ranges)


@given(noisy, noisy.filter(bool), noisy, names)
def test_mark_and_literal_carry_any_text(before, inside, after, name):
    found = parse(literal(before) + mark(name, inside) + literal(after))
    assert found.plain == before + inside + after
    assert dict(found.ranges) == {name: ((len(before), len(before) + len(inside)),)}


@given(noisy)
def test_text_without_an_opening_is_untouched(text):
    found = parse(text.replace("|", "/"))
    assert (found.plain, found.ranges) == (text.replace("|", "/"), {})


trees = st.recursive(
    st.text(st.sampled_from("xyz ()\\")).map(lambda text: text.rstrip("\\") + "."),
    lambda inner: st.lists(st.tuples(names, inner) | inner, min_size=1, max_size=3),
    max_leaves=8,
)


def written(tree):
    if isinstance(tree, str):
        return tree
    if isinstance(tree, tuple):
        return f"[[{tree[0]}|{written(tree[1])}]]"
    return "".join(map(written, tree))


def meant(tree, start=0):
    """Plain text, and the set of (name, character) pairs, read off the tree."""
    if isinstance(tree, str):
        return tree, set()
    if isinstance(tree, tuple):
        plain, pairs = meant(tree[1], start)
        return plain, pairs | {(tree[0], start + at) for at in range(len(plain))}
    plain, pairs = "", set()
    for part in tree:
        more, found = meant(part, start + len(plain))
        plain, pairs = plain + more, pairs | found
    return plain, pairs


@given(trees)
def test_nested_spans_say_what_their_tree_says(tree):
    plain, pairs = meant(tree)
    found = parse(written(tree))
    assert found.plain == plain
    assert {(n, at) for n, ranges in found.ranges.items() for low, high in ranges for at in range(low, high)} == pairs


def test_mark_refuses_a_name_that_markup_cannot_hold():
    with pytest.raises(PromptError, match="cannot be a span name"):
        mark("my rule", "x")
