import re
from dataclasses import dataclass

import pytest
import torch

from saccade.core.errors import PromptError
from saccade.core.spans import Spans
from saccade.prompt import Chars, Message, Partial, Regex, Role, Special, Substring, Within, encode
from saccade.prompt.selectors import Found

TEXT = "Obey: answer in capitals. Then answer again."


def words(p, name, sample=0):
    return [p.plain[sample][slice(*p.offsets[sample][at])].strip() for at in p.spans[name][sample].nonzero().flatten()]


@pytest.mark.parametrize(
    ("selector", "characters"),
    [
        ("capitals", [(16, 24)]),
        (Substring("answer", nth=1), [(31, 37)]),
        (Substring("answer", nth=-2), [(6, 12)]),
        (Substring("answer", nth="all"), [(6, 12), (31, 37)]),
        (Regex(r"\b[Aa]\w+"), [(6, 12), (31, 37), (38, 43)]),
        (re.compile(r"in (?P<what>\w+)"), [(13, 24)]),
        (Regex(r"in (?P<what>\w+)", group="what"), [(16, 24)]),
        (Chars(0, 4), [(0, 4)]),
        ((0, 4), [(0, 4)]),
        (["capitals", Chars(0, 4)], [(0, 4), (16, 24)]),
        (Within("answer", Chars(20, 44)), [(31, 37)]),
        (Within(Chars(0, 6), Regex("Then.*")), [(26, 32)]),
    ],
)
def test_selectors(tokenizer, selector, characters):
    p = encode(tokenizer, TEXT, {"s": selector})
    expected = encode(tokenizer, TEXT, {"s": [Chars(*one) for one in characters]})
    assert torch.equal(p.spans["s"], expected.spans["s"])
    assert p.input_ids.tolist() == [tokenizer(TEXT)["input_ids"]]
    assert (
        "".join(words(p, "s")).lower().replace(" ", "")
        == "".join(TEXT[low:high] for low, high in characters).lower().replace(" ", "")
        or p.partial
    )


def test_markup_and_selectors_of_one_name_are_their_union(tokenizer):
    p = encode(tokenizer, "Obey: [[s|answer]] in capitals. Then answer again.", {"s": "capitals", "t": Chars(0, 12)})
    expected = encode(tokenizer, TEXT, {"s": [Chars(6, 12), "capitals"], "t": Chars(0, 12)})
    assert p.text == TEXT
    assert p.spans.names == ("s", "t", "bos", "prompt")
    for name in p.spans.names:
        assert torch.equal(p.spans[name], expected.spans[name])
    assert (p.spans["s"] & p.spans["t"]).any()


def test_a_selector_of_ones_own(minilm):
    @dataclass(frozen=True)
    class FirstWord:
        def locate(self, source):
            return Found(((0, source.text.index(" ")),))

    assert encode(minilm, "hello world", {"first": FirstWord()}).tokens_of("first") == ("hello",)


def test_automatic_spans_of_text(minilm, bytelevel):
    p = encode(minilm, "a [MASK] b")
    assert p.spans.names == ("bos", "prompt")
    assert p.tokens_of("bos") == ("[CLS]",)
    p = encode(bytelevel, "ab", add_special_tokens=False)
    assert p.spans.names == ("prompt",)
    assert p.spans["prompt"].all()
    assert encode(bytelevel, "ab", automatic=False).spans.names == ("prompt",)


def test_special_tokens(minilm, bytelevel):
    p = encode(minilm, "[CLS] a [MASK] b", {n: Special(n) for n in ("cls", "mask", "sep", "[MASK]", "any")})
    assert p.tokens_of("cls") == ("[CLS]", "[CLS]")
    assert p.tokens_of("mask") == p.tokens_of("[MASK]") == ("[MASK]",)
    assert p.tokens_of("any") == ("[CLS]", "[CLS]", "[MASK]", "[SEP]")
    assert p.spans["bos"].sum() == 1
    padded = encode(bytelevel, ["a", "a b c d e f"], {"any": Special()}, padding_side="left")
    assert padded.spans["any"].sum(-1).tolist() == [1, 1]


def test_a_token_across_the_edge_is_included_and_reported(minilm):
    p = encode(minilm, "answer the questions", {"s": "swer the quest", "t": "the"})
    assert p.tokens_of("s") == ("answer", "the", "questions")
    assert p.partial == (
        Partial(0, "s", 1, "answer", "answer", "an"),
        Partial(0, "s", 3, "questions", "questions", "ions"),
    )
    assert "token 'answer' of 's' also stands for 'an'" in str(p)


def test_a_word_mark_inside_a_span_belongs_to_it(unigram):
    text = "ab<image>0"
    tokens = unigram.convert_ids_to_tokens(unigram(text)["input_ids"])
    assert "▁" in tokens[2:]
    assert encode(unigram, text, {"s": Chars(0, len(text))}).tokens_of("s") == tuple(tokens[1:])
    assert "▁" not in encode(unigram, text, {"s": "0"}).tokens_of("s")


def test_white_space_at_the_edge_of_a_token_does_not_make_it_partial(bytelevel):
    p = encode(bytelevel, "Obey: answer", {"first": "Obey: ", "second": "answer"})
    assert not p.partial
    assert not (p.spans["first"] & p.spans["second"]).any()


def test_characters_of_several_tokens(bytelevel):
    p = encode(bytelevel, "a 🦊 b", {"fox": "🦊"})
    assert p.spans["fox"].sum() == 4
    assert not p.partial


def test_inputs_are_what_the_tokenizer_gives(tokenizer):
    p = encode(tokenizer, TEXT)
    expected = tokenizer(TEXT, return_tensors="pt")
    assert set(p.inputs) == set(expected)
    for name, values in expected.items():
        assert torch.equal(p.inputs[name], values)


def test_batch_with_spans_per_sample_and_optional(tokenizer):
    texts = ["one [[s|two]] three four", "five six"]
    with pytest.raises(PromptError, match=r"'s' is missing from sample\(s\) \[1\].*optional=\['s'\]"):
        encode(tokenizer, texts)
    for p in (encode(tokenizer, texts, optional=["s"]), encode(tokenizer, texts, optional=True)):
        assert p.absent == {"s": (1,)}
        assert p.spans["s"].any(-1).tolist() == [True, False]
    p = encode(tokenizer, ["one two", "three four"], [{"s": "two"}, {"s": "three"}])
    assert [words(p, "s", 0)[-1][-1], words(p, "s", 1)[0][0]] == ["o", "t"]
    p = encode(tokenizer, ["one two", "three"], {"s": "two"}, optional={"s"})
    assert p.absent == {"s": (1,)}
    with pytest.raises(PromptError, match=r"sample 1: span 's': 'two' is not in the prompt"):
        encode(tokenizer, ["one two", "three"], {"s": "two"})
    with pytest.raises(PromptError, match="occurs 2 times"):
        encode(tokenizer, ["one two", "two two"], {"s": "two"}, optional={"s"})
    never = encode(tokenizer, "one", {"s": "two"}, optional={"s"})
    assert not never.spans["s"].any()
    assert never.absent == {"s": (0,)}


def test_padding_without_a_padding_token(bytelevel):
    token, bytelevel.pad_token = bytelevel.pad_token, None
    try:
        assert len(encode(bytelevel, ["ab", "ab"])) == 2
        with pytest.raises(PromptError, match="no padding token"):
            encode(bytelevel, ["ab", "ab cd ef"])
    finally:
        bytelevel.pad_token = token


def kept_of(name, ids, whole, side):
    """How many tokens of a span remain where the tokenizer keeps only ``ids`` of the whole prompt."""
    positions = whole.spans[name][0].nonzero().flatten().tolist()
    dropped = whole.input_ids.shape[1] - len(ids)
    ends = whole.input_ids.shape[1] - 1 - (whole.tokens[0][-1] == "[SEP]")
    gone = range(1, 1 + dropped) if side == "left" else range(ends - dropped + 1, ends + 1)
    return len(set(positions) - set(gone))


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation(tokenizer, side):
    text = "[[head|one two three]] four five six [[tail|seven eight nine]]"
    whole = encode(tokenizer, text)
    phrases = {"head": "one two three", "tail": "seven eight nine"}
    near, far = ("tail", "head") if side == "left" else ("head", "tail")
    plain = whole.text
    before, tokenizer.truncation_side = tokenizer.truncation_side, side
    try:
        for length in range(whole.input_ids.shape[1] - 1, 2, -1):
            expected = tokenizer(plain, truncation=True, max_length=length)["input_ids"]
            kept = len(expected)
            lost_far = max(0, int(whole.spans[far].sum()) - kept_of(far, expected, whole, side))
            if lost_far < whole.spans[far].sum():
                p = encode(tokenizer, text, max_length=length)
            else:
                with pytest.raises(PromptError, match=f"span '{far}': max_length={length} cuts off all"):
                    encode(tokenizer, text, max_length=length)
                p = encode(tokenizer, plain, {near: phrases[near]}, max_length=length)
            assert p.input_ids.tolist() == [expected]
            assert p.input_ids.shape[1] == kept <= length
            lost_near = int(whole.spans[near].sum() - p.spans[near].sum())
            reported = {one.span: (one.kept, one.lost) for one in p.cut}
            if lost_near:
                assert reported[near] == (int(p.spans[near].sum()), lost_near)
            if far in p.spans and lost_far:
                assert reported[far] == (int(p.spans[far].sum()), lost_far)
            assert ("lost" in str(p)) == bool(p.cut)
        with pytest.raises(PromptError, match="cannot truncate"):
            encode(tokenizer, plain, max_length=0)
    finally:
        tokenizer.truncation_side = before


def test_prompt_moves_and_grows(minilm):
    p = encode(minilm, ["a b c", "d"], padding_side="left")
    grown = p.with_spans({"first": p.input_ids == p.input_ids[0, 1], "pad": ~p.attention_mask.bool()})
    assert grown.spans.names == (*p.spans.names, "first", "pad")
    assert grown.to("meta").input_ids.device.type == "meta"
    assert grown.to("meta").spans.device.type == "meta"
    assert isinstance(grown.spans, Spans)
    with pytest.raises(PromptError, match="batch of 2"):
        _ = p.text


WRONG = {
    "not found, near": ({"s": "answer in capitols"}, "nearest match is 'answer in capitals' at characters 6 to 24"),
    "not found, case": ({"s": "Answer in"}, "differs only in case"),
    "not found at all": ({"s": "###"}, "Nothing in the text is like it"),
    "ambiguous": ({"s": "answer"}, r"occurs 2 times \(at characters 6, 31\).*nth=0.*nth=1.*'all'"),
    "too few": ({"s": Substring("answer", nth=2)}, "occurs 2 times, so nth=2 does not exist"),
    "empty": ({"s": ""}, "selects nothing"),
    "bad nth": (lambda: {"s": Substring("a", nth="first")}, "nth must be"),
    "bad regex": ({"s": Regex("(")}, "is not a regular expression"),
    "bad group": ({"s": Regex("(a)", group=2)}, "has no group 2: it has 0 to 1"),
    "no match": ({"s": Regex("zz+")}, "matches nothing"),
    "empty match": ({"s": Regex("q*")}, "matches only empty text"),
    "chars reversed": (lambda: {"s": Chars(5, 3)}, "0 <= start < end"),
    "chars type": (lambda: {"s": Chars(0.5, 3)}, "two integers"),
    "chars beyond": ({"s": Chars(0, 99)}, "beyond the 44 characters"),
    "white space only": ({"s": Chars(5, 6)}, "no token stands for its text ' '"),
    "role of text": ({"s": Role("system")}, "needs chat messages"),
    "message of text": ({"s": Message(0)}, "needs chat messages"),
    "message type": (lambda: {"s": Message("system")}, r"use Role\('system'\)"),
    "special unknown": ({"s": Special("<s]")}, "is not a special token"),
    "no region": ({"s": Within("answer", Special("bos"))}, "no characters to look in"),
    "outside region": ({"s": Within("capitals", Chars(0, 6))}, "outside the searched part"),
    "regions": ({"s": Within(Chars(0, 1), Substring("answer", "all"))}, "several regions"),
    "empty list": ({"s": []}, "empty list"),
    "not a selector": ({"s": 3}, "3 is not a selector"),
    "reserved generated": ({"generated": "capitals"}, "reserved for the tokens that the model will produce"),
    "reserved image": ({"image": "capitals"}, "reserved for the image tokens"),
    "reserved bos": ({"bos": "capitals"}, "reserved"),
    "reserved prompt": ({"prompt": "capitals"}, "reserved"),
    "reserved message": ({"message.0": "capitals"}, "reserved for the messages"),
    "name type": ({3: "capitals"}, "non-empty string"),
    "spans type": ("capitals", "spans must be"),
    "spans count": ([{"s": "capitals"}] * 2, r"2 mappings for 1 prompt\(s\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_spans(bytelevel, case):
    spans, message = WRONG[case]
    with pytest.raises(PromptError, match=message):
        encode(bytelevel, TEXT, spans() if callable(spans) else spans)


@pytest.mark.parametrize(
    ("prompt", "arguments", "message"),
    [
        ("a [[s|b", {}, "never closed"),
        ("[[generated|b]]", {}, "reserved"),
        ("", {"add_special_tokens": False}, "has no tokens"),
        ([], {}, "non-empty list"),
        (None, {}, "found None"),
        (["a", 3], {}, "each prompt of a batch"),
        ("a\ud800b", {}, "surrogate"),
        ("<s>hello", {}, "adds another one"),
        ("hello", {"tools": []}, "not arguments of encode"),
        ("hello", {"padding_side": "top"}, "padding_side must be"),
        ("hello", {"image_token": "<picture>"}, "no token '<picture>'"),
    ],
)
def test_wrong_prompts(bytelevel, prompt, arguments, message):
    with pytest.raises(PromptError, match=message):
        encode(bytelevel, prompt, **arguments)


def test_no_tokenizer():
    with pytest.raises(PromptError, match="needs a tokenizer"):
        encode(None, "hello")


def test_special_token_that_the_tokenizer_lacks(minilm):
    with pytest.raises(PromptError, match="has no eos token"):
        encode(minilm, "hello", {"s": Special("eos")})
    with pytest.raises(PromptError, match="has no special token 'mask'"):
        encode(minilm, "hello", {"s": Special("mask")})


def test_overlapping_occurrences_count(minilm):
    with pytest.raises(PromptError, match=r"occurs 2 times \(at characters 0, 2\)"):
        encode(minilm, "a a a", {"s": "a a"})
    p = encode(minilm, "a a a", {"second": Substring("a a", nth=1), "all": Substring("a a", nth="all")})
    assert p.spans["second"].tolist() == [[False, False, True, True, False]]
    assert p.spans["all"].sum() == 3
