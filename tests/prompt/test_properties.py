"""Random texts and spans against oracles that never look at the tokenizer's offsets."""

import unicodedata

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from saccade.core.errors import PromptError
from saccade.prompt import Chars, encode

LETTERS = "abcdefgEÉéèçñöüßøабвИйαβάή日本語漢字한국0129.,:;!?'-()[]|"
MARKS = "\u0301\u0308"
texts = st.text(st.sampled_from(LETTERS + MARKS + "   \n"), min_size=1, max_size=60)
wild = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
quick = settings(deadline=None, max_examples=150)


@st.composite
def text_and_ranges(draw, strategy=texts):
    text = draw(strategy)
    ranges = draw(
        st.lists(
            st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text))).map(lambda r: (min(r), max(r))),
            min_size=1,
            max_size=3,
        ).map(lambda found: [(low, max(high, low + 1)) for low, high in found])
    )
    return text, ranges


def byte_of():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {chr(b): b for b in printable}, 0
    for b in range(256):
        if b not in printable:
            table[chr(256 + extra)] = b
            extra += 1
    return table


def bytes_oracle(text, tokens):
    """Character range of every token of a byte-level vocabulary, from the bytes that its name spells."""
    table = byte_of()
    owner = [at for at, character in enumerate(text) for _ in character.encode()]
    done, ranges = 0, []
    for token in tokens:
        size = len([table[letter] for letter in token])
        ranges.append((owner[done], owner[done + size - 1] + 1))
        done += size
    assert done == len(owner)
    return ranges


def spelling_oracle(letters, tokens, strip):
    """Ranges from the letters that the tokens spell; ``letters`` are (letter, start, end) of the normalised text."""
    done, ranges = 0, []
    for token in tokens:
        spelt = strip(token)
        assert "".join(one[0] for one in letters[done : done + len(spelt)]) == spelt
        covered = letters[done : done + len(spelt)]
        ranges.append((covered[0][1], max(one[2] for one in covered)) if covered else None)
        done += len(spelt)
    assert done == len(letters)
    return ranges


def wordpiece_letters(text):
    for at, character in enumerate(text):
        for letter in unicodedata.normalize("NFD", character.lower()):
            if unicodedata.category(letter) != "Mn" and not letter.isspace():
                yield letter, at, at + 1


def unigram_letters(text):
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        for letter in unicodedata.normalize("NFKC", text[start:end]):
            if letter != " ":
                yield letter, start, end
        start = end


def oracle(name, text, tokens):
    if name == "bytelevel":
        return bytes_oracle(text, tokens)
    if name == "minilm":
        return spelling_oracle(list(wordpiece_letters(text)), tokens, lambda token: token.removeprefix("##"))
    return spelling_oracle(list(unigram_letters(text)), tokens, lambda token: token.replace("▁", ""))


def core(text, place):
    """The range without white space at its edges, unless it has nothing else."""
    start, end = place
    if text[start:end].isspace():
        return place
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    return start, end


@pytest.mark.parametrize("name", ["bytelevel", "minilm", "unigram"])
@given(case=text_and_ranges())
@example(case=("0E\u0301", [(2, 3)]))
@example(case=("0E\u0301", [(0, 2)]))
@quick
def test_span_tokens_are_exactly_those_that_share_a_character(request, name, case):
    tokenizer, (text, ranges) = request.getfixturevalue(name), case
    plain = tokenizer(text)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(plain)
    assume(tokenizer.unk_token not in tokens)
    skipped = 1, len(tokens) - (name == "minilm")
    places = oracle(name, text, tokens[slice(*skipped)])
    inside = {at for low, high in ranges for at in range(low, high)}
    wanted, partial = [], []
    for position, place in enumerate(places, start=1):
        if place is None:
            continue
        characters = set(range(*core(text, place)))
        if characters & inside:
            wanted.append(position)
            if any(not text[at].isspace() for at in characters - inside):
                partial.append(position)
    arguments = {"spans": {"s": [Chars(*one) for one in ranges]}, "markup": False}
    white = {position for position, place in enumerate(places, start=1) if place is None}
    try:
        p = encode(tokenizer, text, **arguments)
    except PromptError as error:
        p, message = None, str(error)
    if p is None:
        assert "no token stands for" in message
        assert not wanted
        return
    assert p.input_ids.tolist() == [plain]
    assert p.text == text
    found = p.spans["s"][0].nonzero().flatten().tolist()
    assert [position for position in found if position not in white] == wanted
    assert not white.intersection(found) or any(text[at].isspace() for at in inside)
    assert [edge.position for edge in p.partial] == partial


@pytest.mark.parametrize("name", ["bytelevel", "minilm", "unigram"])
@given(case=text_and_ranges(wild))
@quick
def test_any_unicode_gives_the_plain_ids_and_a_cover_or_an_error(request, name, case):
    tokenizer, (text, ranges) = request.getfixturevalue(name), case
    assume(not any(token in text for token in tokenizer.all_special_tokens))
    try:
        p = encode(tokenizer, text, {"s": [Chars(*one) for one in ranges]}, markup=False)
    except PromptError as error:
        p, message = None, str(error)
    if p is None:
        assert "no token stands for" in message
        return
    assert p.input_ids.tolist() == [tokenizer(text)["input_ids"]]
    member = p.spans["s"][0].tolist()
    assert any(member)
    for inside, (start, end) in zip(member, p.offsets[0], strict=True):
        shares = any(low < end and start < high for low, high in ranges)
        assert not inside or shares or start == end
        visible = any(not text[at].isspace() for low, high in ranges for at in range(max(low, start), min(high, end)))
        assert inside or not visible


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["bytelevel", "minilm", "unigram"])
@given(cases=st.lists(text_and_ranges(), min_size=2, max_size=4))
@settings(quick, max_examples=60)
def test_a_padded_batch_is_its_prompts_one_by_one_shifted(request, name, side, cases):
    tokenizer = request.getfixturevalue(name)
    single = []
    for text, ranges in cases:
        try:
            single.append((text, ranges, encode(tokenizer, text, {"s": [Chars(*one) for one in ranges]}, markup=False)))
        except PromptError:
            assume(False)
    batch = encode(
        tokenizer,
        [text for text, _, _ in single],
        [{"s": [Chars(*one) for one in ranges]} for _, ranges, _ in single],
        markup=False,
        padding_side=side,
    )
    width = batch.input_ids.shape[1]
    edges = []
    for number, (_, _, one) in enumerate(single):
        length = one.input_ids.shape[1]
        start = width - length if side == "left" else 0
        window = slice(start, start + length)
        for field, values in batch.inputs.items():
            assert values[number, window].tolist() == one.inputs[field][0].tolist()
        assert batch.attention_mask[number].sum() == length
        assert batch.spans.names == one.spans.names
        for span in batch.spans.names:
            assert batch.spans[span][number, window].tolist() == one.spans[span][0].tolist()
            assert batch.spans[span][number].sum() == one.spans[span].sum()
        assert batch.tokens[number][window] == one.tokens[0]
        assert batch.offsets[number][window] == one.offsets[0]
        edges += [(number, edge.span, edge.position + start, edge.outside) for edge in one.partial]
    assert [(edge.sample, edge.span, edge.position, edge.outside) for edge in batch.partial] == edges


@given(contents=st.lists(texts.filter(str.strip), min_size=1, max_size=4), trim=st.booleans())
@settings(quick, max_examples=60)
def test_chat_contents_are_found_whatever_they_hold(bytelevel, contents, trim):
    content = "m.content | trim" if trim else "m.content"
    template = f"<s>{{% for m in messages %}}<|im_start|>{{{{ m.role }}}}\n{{{{ {content} }}}}<|im_end|>{{% endfor %}}"
    messages = [{"role": "user", "content": text} for text in contents]
    p = encode(bytelevel, messages, markup=False, chat_template=template)
    ids = bytelevel.apply_chat_template(messages, chat_template=template, add_generation_prompt=True)["input_ids"]
    assert p.input_ids.tolist() == [ids]
    header = "<|im_start|>user\n"
    cursor = len("<s>")
    for number, text in enumerate(contents):
        kept = text.strip() if trim else text
        cursor += len(header)
        member = {at for at, inside in enumerate(p.spans[f"message.{number}"][0].tolist()) if inside}
        for at, (start, end) in enumerate(p.offsets[0]):
            visible = any(not p.text[one].isspace() for one in range(max(cursor, start), min(cursor + len(kept), end)))
            assert (at in member) or not visible
            assert (at not in member) or (start < cursor + len(kept) and cursor < end)
        assert p.text[cursor : cursor + len(kept)] == kept
        cursor += len(kept) + len("<|im_end|>")
