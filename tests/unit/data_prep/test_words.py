"""Token ids from the memory of words are the tokenizer's own."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from data_prep.encoding import tokenizer as tokenizers
from data_prep.encoding import word_cache
from data_prep.encoding.word_cache import Words

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126))
LIKE_TEXT = st.lists(
    st.sampled_from(["the", "dog", "runs", "<mask>", "<s>", "", "don't", "U.S.", "3,5", "ﬁne", "नमस्ते", "\t"])
)
TEXTS = st.lists(st.one_of(ASCII, st.text(), LIKE_TEXT.map(" ".join)), max_size=6)


def expected(backend, texts):
    return [backend.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer_dir):
    return tokenizers.load(tiny_tokenizer_dir).backend_tokenizer


@given(texts=TEXTS)
@example(texts=["a  b ", " a", "", " ", "a\u0301 b", "a \u0301b", "x\r\ny", "<mask> a", "a<s>b", "\x7f"])
def test_the_ids_are_the_same(tiny, texts):
    memory = Words(tiny)
    assert memory.exact
    assert memory.encode(texts) == expected(tiny, texts)
    assert memory.encode(texts) == expected(tiny, texts)


def test_xlm_r_s_own(xlmr_tokenizer):
    backend = xlmr_tokenizer.backend_tokenizer
    memory = Words(backend)
    assert memory.exact

    @settings(max_examples=60)
    @given(texts=TEXTS)
    def same(texts):
        assert memory.encode(texts) == expected(backend, texts)

    same()


def test_the_memory_is_bounded(tiny, monkeypatch):
    monkeypatch.setattr(word_cache, "MOST", 20)
    memory = Words(tiny)
    for first in range(0, 100, 5):
        texts = [f"dog{number} runs a1" for number in range(first, first + 5)]
        assert memory.encode(texts) == expected(tiny, texts)
        assert len(memory._known) <= 20


@pytest.mark.parametrize("other", ["white space", "bytes", "normaliser", "model"])
def test_other_tokenizers_are_left_to_themselves(other):
    pieces = [("<unk>", 0.0), *((f"{mark}{c}", -1.0) for c in "abcd" for mark in ("", "\u2581")), ("b\u2581c", -0.5)]
    model = models.Unigram(pieces, unk_id=0)
    if other == "model":
        model = models.WordLevel({"<unk>": 0, "\u2581a": 1, "\u2581b": 2}, unk_token="<unk>")
    backend = Tokenizer(model)
    split = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    backend.pre_tokenizer = {
        "white space": pre_tokenizers.Metaspace(split=False),  # pieces over the border of two words
        "bytes": pre_tokenizers.ByteLevel(add_prefix_space=False),  # the first word differs from the same one later
    }.get(other, split)
    if other == "normaliser":
        backend.normalizer = normalizers.Prepend("d")
    memory = Words(backend)
    assert not memory.exact
    texts = ["a b c", "b c a b c", "d"]
    assert memory.encode(texts) == expected(backend, texts)
