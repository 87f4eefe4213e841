"""Encoding equals transformers' own tokenization, on awkward text, with a tokenizer trained here and with XLM-R's."""

import shutil
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from common.errors import InputError
from data_prep.encoding import tokenizer
from data_prep.storage import store
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.encoding import Encoding, template_of
from tasks.mlm.data import Text
from tasks.pair.data import Pair
from tasks.registry import TASK_TYPES
from tasks.span.data import Span
from tasks.tag.data import Tag
from tests.support.rows import kind_of
from tests.support.tiny_tokenizer import LINES
from tests.support.tokenizers_by_style import STYLES

# What has broken alignments before: combining marks, full-width forms, the word mark itself, control and zero-width
# characters, emoji with joiners, right-to-left text with marks, ligatures and ellipses that normalisation expands.
AWKWARD = [
    "e\u0301te\u0301", "n\u0303", "\uff1f\uff01", "\uff21\uff22\uff11", "\u2581", "\u2581\u2581a", "\x07",
    "\x00b", "\u200d", "\u200b", "\ufeff", "\U0001f469\u200d\U0001f680", "\U0001f1e9\U0001f1ea",
    "\u05e9\u05c1\u05dc\u05d5\u05dd", "\u0627\u0644\u0643\u0644\u0628", "\u202eabc\u202c",
    "\ufb01ne", "\u2026", "\u00bd", "\u3000", "\u00a0", "\t", "\u0915\u094d\u0937", "\ud55c\uad6d", "\u5c0f\u72d7",
    "\u0e19\u0e49\u0e33", "<s>", "</s>", "<mask>", "dog", "a", "?",
]  # fmt: skip


def many(n: int, start: int = 0) -> str:
    """A text of `n` words that differ from each other."""
    return " ".join(f"dog{i + start}" for i in range(n))


awkward_text = st.lists(
    st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)),
    min_size=1,
    max_size=12,
).flatmap(lambda parts: st.sampled_from([" ".join(parts), "".join(parts)]))
visible_text = awkward_text.filter(lambda text: not text.isspace())
any_text = st.one_of(visible_text, st.builds(many, st.integers(1, 40), st.integers(0, 200)))
lengths = st.sampled_from((12, 16, 23, 64, 256))
some = settings(max_examples=60)


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer_dir):
    return tokenizer.load(tiny_tokenizer_dir)


@pytest.fixture(scope="module", params=["tiny", "xlmr"])
def tok(request):
    """The tokenizer trained here, and XLM-R's where it is."""
    return request.getfixturevalue("tiny" if request.param == "tiny" else "xlmr_tokenizer")


def rows_of(tok, examples, max_length: int, **more) -> list[dict]:
    """Encoded rows, of which every sequence is `<s> ... </s>` and not too long."""
    examples = examples if isinstance(examples, list) else [examples]
    rows = TASK_TYPES[kind_of(examples[0])].encode(tok, examples, Encoding(max_length, **more))
    for row in rows:
        assert row["input_ids"].dtype == row["lengths"].dtype == np.int32
        assert row["length"] == len(row["input_ids"]) == row["lengths"].sum()
        for sequence in sequences(row):
            assert 2 <= len(sequence) <= max_length
            assert sequence[0] == tok.cls_token_id and sequence[-1] == tok.sep_token_id
    return rows


def sequences(row: dict) -> list[list[int]]:
    return [part.tolist() for part in np.split(row["input_ids"], np.cumsum(row["lengths"])[:-1])]


def ids(tok, text: str) -> list[int]:
    return tok(text, add_special_tokens=False)["input_ids"]


@some
@given(prompt=any_text, choices=st.lists(any_text, min_size=2, max_size=5), max_length=lengths)
def test_choice_keeps_the_choice_and_the_end_of_the_prompt(tok, prompt, choices, max_length):
    (row,) = rows_of(tok, Choice("", prompt, tuple(choices), 1), max_length)
    assert row["label"] == 1 and row["units"] == 1
    for sequence, choice in zip(sequences(row), choices, strict=True):
        whole = tok(prompt, choice)["input_ids"]
        kept = ids(tok, choice)[: max_length - 4]
        rest = max_length - 4 - len(kept)
        cut = [0, *(ids(tok, prompt)[-rest:] if rest else []), 2, 2, *kept, 2]
        assert sequence == (whole if len(whole) <= max_length else cut)


@some
@given(query=any_text, passages=st.lists(any_text | st.sampled_from("ab"), min_size=2, max_size=6), max_length=lengths)
def test_pair(tok, query, passages, max_length):
    examples = [Pair("", query, passage) for passage in passages]
    rows = rows_of(tok, examples, max_length, query_length=12)
    for row, passage in zip(rows, passages, strict=True):
        wanted = [(query, 12), (passage, max_length)]
        assert sequences(row) == [tok(text, truncation=True, max_length=most)["input_ids"] for text, most in wanted]
    # The same passage, or one that is the same after the cut, is not a wrong answer to the other's query.
    for one in rows:
        for other in rows:
            assert (one["passage_key"] == other["passage_key"]) == (sequences(one)[1] == sequences(other)[1])
        assert 0 <= one["passage_key"] < 2**63 and one["group_key"] == one["passage_key"] and one["negative_key"] == -1


@some
@given(text=visible_text, copies=st.integers(1, 8), max_length=st.sampled_from((12, 32)))
def test_mlm_keeps_every_token(tok, text, copies, max_length):
    text = " ".join([text] * copies)
    rows = rows_of(tok, Text("", text), max_length)
    assert [token for row in rows for token in row["input_ids"][1:-1].tolist()] == ids(tok, text)
    assert all(row["length"] == max_length for row in rows[:-1])
    assert [row["units"] for row in rows] == [max(1, round(0.15 * (row["length"] - 2))) for row in rows]


def test_sentencepiece_alone(xlmr_tokenizer, shared, tmp_path):
    """A folder with sentencepiece.bpe.model and no tokenizer.json, as encoders had until 2021."""
    shutil.copy(shared / "data" / "tokenizer" / "xlmr" / "sentencepiece.bpe.model", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    alone = tokenizer.load(tmp_path)
    texts = [*TEXTS, "Stra\u00dfe \uff21\uff22 \u0e19\u0e49\u0e33", "a  b\u00a0c\u200bd"]
    assert alone(texts)["input_ids"] == xlmr_tokenizer(texts)["input_ids"]
    assert alone(texts[0], texts[1])["input_ids"] == xlmr_tokenizer(texts[0], texts[1])["input_ids"]


# --- which tokenizers are taken


def test_a_tokenizer_of_another_family_is_refused(tmp_path):
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="pad_token"):
        tokenizer.load(tmp_path / "bert")


# Tokenizers of every style: templates, token types, spans, tags


# Characters that none of the tokenizers has seen, some of several bytes, beside words that they know.
TEXTS = [
    *LINES,
    "the \U0001f469\u200d\U0001f680 reads",
    "e\u0301te\u0301 in \u00e9t\u00e9",
    "dog",
    "river\u2026 (1999)!",
]


@pytest.fixture(scope="module", params=STYLES)
def style(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tokenizer.load(STYLES[request.param](tmp_path_factory.mktemp("style")))


def test_templates_truncation_and_token_types(style: Any) -> None:
    template = template_of(style)
    assert template.typed == (type(style).__name__.startswith("Bert"))
    pairs = [(a, b) for a in TEXTS for b in (None, *TEXTS[::3])]
    for length in (12, 17, 40, 200):
        rows = TASK_TYPES["classify"].encode(style, [Classify("", a, b, 0) for a, b in pairs], Encoding(length))
        for row, (a, b) in zip(rows, pairs, strict=True):
            expected = style(a, b, truncation="longest_first", max_length=length)
            assert row["input_ids"].tolist() == expected["input_ids"]
            if template.typed:
                assert (np.arange(row["length"]) >= row["second"][0]).astype(int).tolist() == expected["token_type_ids"]
        assert pa.RecordBatch.from_pylist(rows, store.schema("classify", "train", template.typed)).num_rows == len(rows)


@pytest.mark.parametrize(("max_length", "context_words"), [(40, 60), (64, 7), (384, 300), (512, 1000)])
def test_windows_of_a_context(style: Any, max_length: int, context_words: int) -> None:
    question, context = "which dog runs", " ".join([*TEXTS[len(LINES) :], many(context_words)])
    specials = style.num_special_tokens_to_add(pair=True)
    stride = min(128, (max_length - len(ids(style, question)) - specials) // 3)
    rows = rows_of(style, [Span("", "q", "dog", ()), Span("", question, context, ())], max_length)
    assert [row["example"] for row in rows] == [0] + [1] * (len(rows) - 1)
    reference = style(
        question, context, truncation="only_second", max_length=max_length, stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    assert [row["input_ids"].tolist() for row in rows[1:]] == reference["input_ids"]
    for i, row in enumerate(rows[1:]):
        in_context = np.array([number == 1 for number in reference.sequence_ids(i)])
        offsets = np.where(in_context[:, None], np.array(reference["offset_mapping"][i]), -1)
        assert np.array_equal(np.stack([row["offset_start"], row["offset_end"]], 1), offsets)


@some
@given(
    before=awkward_text, answer=visible_text, after=awkward_text, gap=st.sampled_from(["", " "]), short=st.booleans()
)
def test_an_answer_is_the_tokens_that_touch_it(style, before, answer, after, gap, short):
    """In every window that holds all of them; in the others the answer is `<s>`."""
    context = before + gap + answer + gap + after
    begin, end = len(before + gap), len(before + gap + answer)
    rows = rows_of(style, Span("", "what", context, ((answer, begin),)), 24 if short else 512)
    (whole,) = rows_of(style, Span("", "what", context, ((answer, begin),)), 512)

    def touching(row: dict) -> np.ndarray:
        tokens = style.convert_ids_to_tokens(row["input_ids"].tolist())
        texts = [context[first:last] for first, last in zip(row["offset_start"], row["offset_end"], strict=True)]
        # Which mark is a tokenizer's own: the other one is a letter to it.
        bare = np.array([not t.strip("\u2581\u0120") and x != "\u0120" for t, x in zip(tokens, texts, strict=True)])
        first, last = np.maximum(row["offset_start"], begin), np.minimum(row["offset_end"], end)
        return np.flatnonzero((row["offset_start"] >= 0) & ~bare & (first < last))

    found = 0
    for row in rows:
        places = touching(row)
        if len(places) and len(places) == len(touching(whole)):
            assert (row["start"], row["end"]) == (places[0], places[-1])
            found += 1
        else:
            assert row["start"] == row["end"] == 0
    assert found or short or not len(touching(whole))  # the normaliser may leave nothing of the answer


def test_tags_stand_at_the_first_token_of_their_words(style: Any) -> None:
    """As in the whole sentence, where every word has a space in front where the tokenizer tells it from none."""
    space = " " if template_of(style).spaced else ""
    for text in LINES:
        words = tuple(text.split())
        (row,) = TASK_TYPES["tag"].encode(style, [Tag("", words, words)], Encoding(200, sorted(set(words))))
        whole = style(space + " ".join(words), return_offsets_mapping=True)
        assert row["input_ids"].tolist() == whole["input_ids"]
        begins = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])  # with the space, which may be a token
        ends = [end for _, end in whole["offset_mapping"]]
        assert row["positions"].tolist() == [next(n for n, end in enumerate(ends) if end > begin) for begin in begins]
        assert [sorted(set(words))[label] for label in row["labels"]] == list(words)
