"""The recipes: what they feed to the loop, and what their architectures promise."""

import itertools
import random
from collections import Counter

import pytest
import torch
from transformers import AutoTokenizer

from saccade.prompt import encode
from saccade.tasks import Example, Place, world
from saccade.zoo.coder import Coder, sources
from saccade.zoo.copier import Copier
from saccade.zoo.phenomena import TEST_SEED
from saccade.zoo.reader import PARTS, Encoder, Reader, ReaderBase
from saccade.zoo.tokenizers import byte_pair_tokenizer


@pytest.fixture(scope="module")
def reader_tokenizer():
    return Reader().tokenizer()


def test_reader_encodes_as_the_chat_template_does(reader_tokenizer):
    rng, encode, kinds = random.Random(0), Encoder(reader_tokenizer, 0.05), Counter()
    for i in range(150):
        task = Reader().task(rng, progress=(i % 10) / 10)
        kinds[task.name] += 1
        messages = task.conversation(0)
        ids, weights = encode(messages)
        said = [{"role": m.role, "content": m.content} for m in messages]
        whole = reader_tokenizer.apply_chat_template(said, return_dict=True, return_assistant_tokens_mask=True)
        assert whole["input_ids"] == ids
        assert reader_tokenizer.unk_token_id not in ids
        assert whole["assistant_masks"] == [int(w == 1.0) for w in weights]
    assert len(kinds) == len(PARTS)


def test_reader_batches_are_of_one_size_and_reproducible(reader_tokenizer):
    recipe = Reader()
    first, again = (recipe.pool(3, 0.9, reader_tokenizer) for _ in range(2))
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(first, again, strict=True))
    assert all(b.ids.numel() <= recipe.batch_tokens for b in first)
    assert not torch.equal(first[0].ids[0, :20], recipe.pool(4, 0.9, reader_tokenizer)[0].ids[0, :20])


def test_reader_documents_grow_while_training_goes_on(reader_tokenizer):
    longest = [max(b.ids.shape[1] for b in ReaderBase().pool(0, p, reader_tokenizer)) for p in (0.0, 0.2, 0.9)]
    assert longest == sorted(longest)
    assert longest[2] > 2 * longest[0]


def test_reader_never_trains_on_the_test_seed():
    rng = random.Random(0)
    assert all(Reader().task(rng, 0.9).seed > 1000 > TEST_SEED for _ in range(300))


def test_tokenizer_survives_saving(reader_tokenizer, tmp_path):
    reader_tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    e = world.Instructions().example(0)
    assert loaded.apply_chat_template(e.messages, tokenize=False) == reader_tokenizer.apply_chat_template(
        e.messages, tokenize=False
    )
    ids = loaded(e.contents[-1])["input_ids"]
    assert loaded.decode(ids).replace(" :", ":") == e.contents[-1]


def test_gold_spans_reach_whole_tokens(reader_tokenizer):
    for e in world.Instructions(difficulty=3).examples(20):
        text = reader_tokenizer.apply_chat_template(e.messages, tokenize=False, add_generation_prompt=True)
        offsets = reader_tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        for name, ranges in e.text_ranges(text).items():
            words = [
                " ".join(text[a:b] for a, b in offsets if start <= a and b <= stop and a < b) for start, stop in ranges
            ]
            assert [w.replace(" ", "") for w in words] == [t.replace(" ", "") for t in e.texts(name)]


def test_selectors_mark_the_same_words_in_a_prompt(reader_tokenizer):
    for e in (*world.Injection(difficulty=3).examples(5), *world.Dialogue().examples(5)):
        prompt = encode(reader_tokenizer, e.messages, spans=e.selectors())
        for name in e.spans:
            assert list(prompt.tokens_of(name)) == reader_tokenizer.tokenize(" ".join(e.texts(name)))
    plain = Example("ba be bi", ("be",), {"gold": (Place(0, 3, 5),)})
    assert encode(Copier().tokenizer(), plain.prompt, spans=plain.selectors()).tokens_of("gold") == ("be",)


def test_copier_is_attention_alone():
    model = Copier().model(Copier().tokenizer())
    x = torch.randn(1, 4, 128)
    assert all(layer.mlp(x).abs().max() == 0 for layer in model.model.layers)
    assert not any(p.requires_grad for layer in model.model.layers for p in layer.mlp.parameters())


def test_copier_marks_what_induction_can_foretell():
    recipe, rng = Copier(), random.Random(0)
    for _ in range(50):
        row, copied = recipe.sequence(rng, recipe.table())
        assert len(row) == recipe.length
        assert 7 <= sum(copied) <= 39
        size, second = sum(copied) + 1, copied.index(True) - 1
        segment = row[second : second + size]
        assert any(row[i : i + size] == segment for i in range(second - size + 1))


def test_copier_draws_from_its_table():
    recipe, rng, habitual = Copier(), random.Random(1), []
    table = recipe.table()
    for _ in range(200):
        row, _ = recipe.sequence(rng, table)
        habitual.append(sum(b in table[a] for a, b in itertools.pairwise(row)) / (len(row) - 1))
    assert 0.35 < sum(h > 0.5 for h in habitual) / 200 < 0.65


def test_coder_holds_out_whole_files():
    train, held_out = sources()
    assert len(train) > 15 * len(held_out) > 0
    assert not set(train) & set(held_out) - {""}
    assert any("class OrderedDict" in t for t in (*train, *held_out))


def test_coder_windows_come_from_the_right_side():
    recipe = Coder()
    tokenizer = byte_pair_tokenizer(sources()[1][:10], 400)
    window = recipe.windows(random.Random(0), 2, 64, True, tokenizer)
    whole = tokenizer.decode(recipe.stream(True, tokenizer))
    assert all(tokenizer.decode(row) in whole for row in window)
    text = sources()[1][3][:500]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
