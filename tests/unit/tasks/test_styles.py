"""Rows equal transformers' own tokenization for tokenizers of every style: templates, token types, spans, tags."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_prep.encoding import tokenizer
from data_prep.storage import store
from tasks.classify.data import Classify
from tasks.encoding import Encoding, template_of
from tasks.registry import TASK_TYPES
from tasks.span.data import Span
from tasks.tag.data import Tag
from tests.support.tiny_tokenizer import LINES
from tests.support.tokenizers_by_style import STYLES

# Characters that none of the tokenizers has seen, some of several bytes, beside words that they know.
TEXTS = [
    *LINES,
    "the \U0001f469\u200d\U0001f680 reads",
    "e\u0301te\u0301 in \u00e9t\u00e9",
    "dog",
    "river\u2026 (1999)!",
]


@pytest.fixture(scope="module", params=STYLES)
def tok(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tokenizer.load(STYLES[request.param](tmp_path_factory.mktemp("style")))


def test_templates_truncation_and_token_types(tok: Any) -> None:
    template = template_of(tok)
    assert template.typed == (type(tok).__name__.startswith("Bert"))
    pairs = [(a, b) for a in TEXTS for b in (None, *TEXTS[::3])]
    for length in (12, 17, 40, 200):
        rows = TASK_TYPES["classify"].encode(tok, [Classify("", a, b, 0) for a, b in pairs], Encoding(length))
        for row, (a, b) in zip(rows, pairs, strict=True):
            expected = tok(a, b, truncation="longest_first", max_length=length)
            assert row["input_ids"].tolist() == expected["input_ids"]
            if template.typed:
                assert (np.arange(row["length"]) >= row["second"][0]).astype(int).tolist() == expected["token_type_ids"]
        assert pa.RecordBatch.from_pylist(rows, store.schema("classify", "train", template.typed)).num_rows == len(rows)


def test_the_offsets_of_answers_give_their_texts(tok: Any) -> None:
    spans = []
    context_from = template_of(tok).before_second(len(tok("a dog", add_special_tokens=False)["input_ids"]))
    for context in TEXTS:
        for word in (words := context.split()):
            answer = " ".join(words[words.index(word) :][:2])
            spans.append(Span("", "a dog", context, ((answer, context.index(answer)),)))
    found = set()
    for row in TASK_TYPES["span"].encode(tok, spans, Encoding(64)):
        example = spans[row["example"]]
        assert tok.convert_ids_to_tokens(int(row["input_ids"][0])) == tok.cls_token
        inside = row["offset_start"] >= 0
        assert not inside[:context_from].any() and inside[context_from:-1].all()
        if row["start"]:
            text = example.context[row["offset_start"][row["start"]] : row["offset_end"][row["end"]]]
            # WordPiece has one token for a word that it does not know, XLM-R's may join an accent to it.
            assert example.answers[0][0] in text and len(text.strip()) <= len(example.answers[0][0]) + 1
            found.add(row["example"])
    assert found == set(range(len(spans)))


def test_tags_stand_at_the_first_token_of_their_words(tok: Any) -> None:
    """As in the whole sentence, where every word has a space in front where the tokenizer tells it from none."""
    space = " " if template_of(tok).spaced else ""
    for text in LINES:
        words = tuple(text.split())
        (row,) = TASK_TYPES["tag"].encode(tok, [Tag("", words, words)], Encoding(200, sorted(set(words))))
        whole = tok(space + " ".join(words), return_offsets_mapping=True)
        assert row["input_ids"].tolist() == whole["input_ids"]
        begins = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])  # with the space, which may be a token
        ends = [end for _, end in whole["offset_mapping"]]
        first = [next(n for n, end in enumerate(ends) if end > begin) for begin in begins]
        assert row["positions"].tolist() == first
        assert [sorted(set(words))[label] for label in row["labels"]] == list(words)
