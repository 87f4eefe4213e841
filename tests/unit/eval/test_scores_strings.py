"""Accuracy and the answer metrics of MLQA against their definitions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.datasets import mlqa
from eval.metrics import score
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


def test_mlqa_known_values() -> None:
    words = score.mlqa_words
    assert words("在2008年，北京", "zh") == ["在", "2008", "年", "北", "京"]
    assert words("البيت", "ar") == ["بيت"] and words("والبيت", "ar") == ["و", "بيت"]  # also inside a word
    # The English articles of SQuAD are no articles in Spanish: another figure than `squad`'s.
    assert (
        score.mlqa(["a casa"], [["casa"]], "es").scores()["em"] == 0
        and score.squad(["a casa"], [["casa"]]).scores()["em"] == 100
    )
    # An exact match of nothing with nothing has no shared word.
    assert score.mlqa(["der"], [["die"]], "de").scores() == {"f1": 0.0, "em": 100.0}


def test_an_unanswered_question_counts_as_zero() -> None:
    # Also where the empty answer would have been right.
    assert score.mlqa([None, "x"], [["the"], ["x"]], "en").scores() == {"f1": 50.0, "em": 50.0}
    assert score.squad([None, "x"], [["the"], ["x"]]).scores() == {"f1": 50.0, "em": 50.0}
    assert score.squad([None, ""], [[], []], v2=True).scores() == {"f1": 50.0, "em": 50.0}
    assert score.accuracy([None, 1], [0, 1]).scores() == {"accuracy": 50.0}
    assert score.majority(["a", "b", "b", "c"]) == 50.0
