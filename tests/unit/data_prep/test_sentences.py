"""Sentences of a paragraph, with which LAReQA's passages begin: those that its authors published; no letter is lost."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from data_prep.sentences import sentence_at, sentence_breaks


@given(st.text(st.sampled_from("ab .!?\n\"'()[]ABCé1—J.U.S."), max_size=60))
def test_every_letter_is_in_one_sentence(paragraph):
    spans = list(sentence_breaks(paragraph))
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    covered = {place for a, b in spans for place in range(a, b)}
    assert {i for i, c in enumerate(paragraph) if not c.isspace()} <= covered
    for a, b in spans:
        assert a < b and paragraph[a:b] == paragraph[a:b].strip() == sentence_at(paragraph, a)


def test_sentences_are_those_of_lareqa(shared):
    document = json.loads((shared / "data/raw/lareqa/xquad-r/en.json").read_text(encoding="utf-8"))
    right = wrong = missed = 0
    for paragraph in (paragraph for article in document["data"] for paragraph in article["paragraphs"]):
        gold, found = {tuple(pair) for pair in paragraph["sentence_breaks"]}, set(sentence_breaks(paragraph["context"]))
        right, wrong, missed = right + len(gold & found), wrong + len(found - gold), missed + len(gold - found)
    assert 2 * right / (2 * right + wrong + missed) >= 0.985
