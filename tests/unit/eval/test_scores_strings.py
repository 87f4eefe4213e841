"""Accuracy, the answer metrics of MLQA against their definitions, and metrics of tags against seqeval."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score

from common.labels import UPOS
from data_prep.datasets import mlqa
from eval.metrics import score, tagging
from tasks.classify.data import Classify
from tests.support.slow_text import slow_f1, slow_words

# From the definition of MLQA (Lewis et al. 2020).
ARTICLES = {
    "en": {"a", "an", "the"},
    "es": {"un", "una", "unos", "unas", "el", "la", "los", "las"},
    "vi": {"của", "là", "cái", "chiếc", "những"},
    "de": {"ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"},
}


def mlqa_words(text: str, language: str) -> list[str]:
    """Arabic loses its article wherever it stands; Chinese is split into characters."""
    words = slow_words(text, ARTICLES.get(language, ()), unicode_punctuation=True)
    if language == "ar":
        return " ".join(" ".join(words).split("ال")).split()
    if language == "zh":
        return "".join(f" {c} " if 0x4E00 <= ord(c) <= 0x9FA5 else c for c in " ".join(words)).split()
    return words


PIECES = [
    "The", "a", "an", "the", "theatre", "x_the", "El", "la", "las", "gato", "Der", "dem", "Haus", "của", "cái", "nhà",
    "ال", "البيت", "كتاب", "والكتاب", "中国", "龥", "龦", "𠀀", "北京2008", "हिन्दी", "।", "किताब", "ß", "İ", "日本",
    "ー", "1,999", "$3", "U.S.", "«x»", "—", "。", "،", "\u00a0", "\u3000", "\t", "an-a", "co-op", "·", "l'eau", "🙂",
    "_", "^",
]  # fmt: skip
PARTS = st.tuples(st.sampled_from(PIECES) | st.text(max_size=4), st.sampled_from(["", " ", "  "])).map("".join)
TEXTS = st.lists(PARTS, max_size=7).map("".join)


@settings(max_examples=400)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(mlqa.LANGUAGES))
def test_mlqa_follows_the_definition(prediction: str, golds: list[str], language: str) -> None:
    words, wanted = mlqa_words(prediction, language), [mlqa_words(gold, language) for gold in golds]
    assert score.mlqa_words(prediction, language) == words
    assert score.mlqa([prediction], [golds], language).scores() == {
        "f1": pytest.approx(100 * max(slow_f1(words, gold) for gold in wanted)),
        "em": 100.0 * any(words == gold for gold in wanted),
    }


def test_an_unanswered_question_counts_as_zero() -> None:
    # Also where the empty answer would have been right.
    assert score.mlqa([None, "x"], [["the"], ["x"]], "en").scores() == {"f1": 50.0, "em": 50.0}
    assert score.squad([None, "x"], [["the"], ["x"]]).scores() == {"f1": 50.0, "em": 50.0}
    assert score.accuracy([None, 1], [0, 1]).scores() == {"accuracy": 50.0}
    assert score.majority(["a", "b", "b", "c"]) == 50.0


# Entity F1 and both POS metrics against seqeval, and what happens to words without a prediction


IOB = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-a-b", "I-a-b"]
Tags = list[list[str]]


def seqeval(predictions: Tags, golds: Tags) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of divisions by zero, and of tags that are no entity tags
        scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
        return {name: 100 * float(score(golds, predictions)) for name, score in scores.items()}


@st.composite
def tagged(draw, tags: list[str]) -> tuple[list[list[str | None]], Tags]:
    """(predictions, golds): sentences of the same lengths, predictions often equal to the gold and sometimes None."""
    few = draw(st.lists(st.sampled_from(tags), min_size=1, max_size=4))
    golds = draw(st.lists(st.lists(st.sampled_from(few), min_size=1, max_size=8), min_size=1, max_size=4))
    predictions = [[draw(st.sampled_from([tag, tag, None, *few])) for tag in sentence] for sentence in golds]
    return predictions, golds


@settings(max_examples=150)
@given(tagged(IOB))
def test_entities_are_seqevals(pair) -> None:
    """An I without its B opens one; a word without prediction is in none."""
    predictions, golds = pair
    outside = [[tag or "O" for tag in sentence] for sentence in predictions]
    assert tagging.entities(predictions, golds).scores() == pytest.approx(seqeval(outside, golds))


@settings(max_examples=150)
@given(tagged([*UPOS, "_"]))
def test_pos_is_seqevals_of_the_time(pair) -> None:
    """Up to 0.0.15 seqeval took a bare tag's first letter for the prefix and the whole tag for the type. Written out

    as PREFIX-TYPE, today's seqeval does the same (with a letter more, since it takes "_" for the type of an O). A word
    without prediction is in no chunk, and wrong.
    """
    predictions, golds = pair
    spelled = [[[f"{t[0]}-{t}x" if t else "O" for t in sentence] for sentence in side] for side in (predictions, golds)]
    found = tagging.pos(predictions, golds).scores()
    flat = [(p, g) for ps, gs in zip(predictions, golds, strict=True) for p, g in zip(ps, gs, strict=True)]
    assert found.pop("accuracy") == pytest.approx(100 * sum(p == g for p, g in flat) / len(flat))
    assert found == pytest.approx(seqeval(*spelled))


# Distractor accuracy: which pairs it is over


def test_the_half_of_the_negative_pairs_that_share_most() -> None:
    assert score.overlap("abcd", "ABCD") == 1 and score.overlap("abcd", "efgh") == 0 == score.overlap("a", "b")
    assert score.overlap("abab", "abx") == 1 / 4  # ab of ab ba ab, and bx
    other = {"1": "flights from Paris to Rome", "2": "flights to Rome from Paris", "3": "trains", "4": "Rome", "5": "x"}
    labels = {"1": 1, "2": 0, "3": 0, "4": 0, "5": 0}
    rows = [Classify(name, "flights from Paris to Rome", text, labels[name]) for name, text in other.items()]
    found = score.with_distractors(score.accuracy([1, 1, 0, 0, 1], [row.label for row in rows]), rows).scores()
    # Distractors: 2 (wrong) and 4 (right), out of 2 to 5.
    assert found == {"accuracy": 60.0, "distractor_accuracy": 50.0, "other_accuracy": 200 / 3}
