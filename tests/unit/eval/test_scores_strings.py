"""Accuracy, the answer metrics of MLQA and SQuAD against their definitions, and metrics of tags against seqeval."""

import unicodedata
import warnings
from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from common.labels import UPOS
from data_prep.datasets import mlqa
from eval.metrics import score, tagging
from tasks.span import squad

ASCII_PUNCTUATION = {chr(c) for c in range(33, 127) if not chr(c).isalnum()}


def slow_words(text: str, articles: Collection[str], unicode_punctuation: bool) -> list[str]:
    """Lower, punctuation away, articles become spaces, split."""
    kept = [
        c
        for c in text.lower()
        if c not in ASCII_PUNCTUATION and not (unicode_punctuation and unicodedata.category(c).startswith("P"))
    ]
    # A word, for articles, is a run of letters, digits and underscores; the rest stands between words.
    pieces, word = [], ""
    for c in [*kept, " "]:
        if c.isalnum() or c == "_":
            word += c
        else:
            pieces += [" " if word in articles else word, c]
            word = ""
    return "".join(pieces).split()


def slow_f1(predicted: list[str], gold: list[str]) -> float:
    """Harmonic mean of precision and recall of the words, each counted as often as it occurs; 0 if none is shared."""
    rest, shared = list(gold), 0
    for word in predicted:
        if word in rest:
            rest.remove(word)
            shared += 1
    return 2 * shared / (len(predicted) + len(gold)) if shared else 0.0


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
    """A word without prediction is in no entity."""
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


def test_pos_known_values() -> None:
    predictions, golds = [["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]]
    assert tagging.pos(predictions, golds).scores()["f1"] == 50.0
    assert seqeval(predictions, golds)["f1"] == 100.0  # seqeval from 0.0.16 on: both are of type "CONJ"


def test_an_i_without_its_b_opens_an_entity() -> None:
    gold = [["O", "B-PER", "I-PER"]]
    assert tagging.entities([["O", "I-PER", "I-PER"]], gold).scores()["f1"] == 100.0
    assert f1_score(gold, [["O", "I-PER", "I-PER"]], mode="strict", scheme=IOB2) == 0.0  # where it would be none


# SQuAD's metrics, and the best answer against a search of all pairs


def squad_words(text: str) -> list[str]:
    return slow_words(text, {"a", "an", "the"}, unicode_punctuation=False)


@settings(max_examples=200)
@given(TEXTS, TEXTS)
def test_squad_follows_the_definition(prediction: str, gold: str) -> None:
    left, right = squad_words(prediction), squad_words(gold)
    assert squad.squad_scores(prediction, [gold]) == (float(left == right), pytest.approx(slow_f1(left, right)))
    if left and right:
        assert squad.squad_scores(prediction, [gold], v2=True) == squad.squad_scores(prediction, [gold])


def test_squad_known_values() -> None:
    assert squad.squad_scores("The  Cat's, an apple!", ["cats apple"]) == (1.0, 1.0)
    assert squad.squad_scores("in the year 1999", ["1999"]) == (0.0, pytest.approx(0.5))
    assert squad.squad_scores("1999", ["in 1999", "1999."]) == (1.0, 1.0)
    # "the" leaves no word: v1.1 gives F1 0, v2.0 gives 1 against another empty one.
    assert squad.squad_scores("the", ["an"]) == (1.0, 0.0)
    assert squad.squad_scores("", [], v2=True) == (1.0, 1.0)
    assert squad.squad_scores("cat", [], v2=True) == (0.0, 0.0)
    assert squad.squad_scores("", ["cat"], v2=True) == (0.0, 0.0)
    # v2.0 leaves out a gold answer without a word ("the"), unless there is no other.
    assert squad.squad_scores("", ["the", "cat"], v2=True) == (0.0, 0.0)
    assert squad.squad_scores("", ["the"], v2=True) == (1.0, 1.0)
    with pytest.raises(ValueError, match="without a gold answer"):
        squad.squad_scores("cat", [])


def best_of_all(windows, n_best, longest):
    """All pairs of all windows, the first of the highest in (window, start, end) order."""
    best = None
    for w, (starts, ends, allowed) in enumerate(windows):
        tokens = [t for t in range(len(starts)) if allowed[t]]
        first = sorted(tokens, key=lambda t: (-starts[t], t))[:n_best]
        last = sorted(tokens, key=lambda t: (-ends[t], t))[:n_best]
        for s in first:
            for e in last:
                if s <= e < s + longest:
                    key = (-(starts[s] + ends[e]), w, s, e)
                    best = min(best, key) if best else key
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_best_answer_is_the_best_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    longest, n_best = int(rng.integers(1, 8)), int(rng.integers(1, 9))
    sizes = rng.integers(5, 30, 7)
    # Whole numbers, so that equal scores occur.
    starts, ends = ([rng.integers(-4, 5, size).astype(np.float32) for size in sizes] for _ in range(2))
    begin = [np.where(np.arange(size) >= 3, 2 * np.arange(size), -1) for size in sizes]
    stop = [np.where(first >= 0, first + 1, -1) for first in begin]
    owner = rng.integers(0, 3, 7).tolist()
    settings = {"n_best": n_best, "max_answer_length": longest, "null_allowed": True, "null_threshold": 0.5}
    found = squad.best_answers(starts, ends, begin, stop, owner, **settings)
    assert set(found) == set(owner)
    for question, answer in found.items():
        mine = [w for w in range(7) if owner[w] == question]
        windows = [(starts[w], ends[w], begin[w] >= 0) for w in mine]
        best = best_of_all(windows, n_best, longest) or best_of_all(windows, None, longest)
        assert best is not None
        negative, w, s, e = best
        assert (answer.score, answer.start, answer.end) == (-negative, begin[mine[w]][s], stop[mine[w]][e])
        null = min(float(starts[w][0] + ends[w][0]) for w in mine)
        assert (answer.null_score, answer.null) == (null, null + negative > 0.5)
        assert answer.text("x" * 100) == ("" if answer.null else "x" * (answer.end - answer.start))


def test_without_null_there_is_always_a_span() -> None:
    starts, ends = np.array([9.0, 0, 0, 1, 5]), np.array([9.0, 0, 0, 5, 1])
    inside = np.array([-1, -1, -1, 0, 4])
    # The one best start lies after the one best end: the limit of one is dropped rather than no answer given.
    found = squad.best_answers([starts], [ends], [inside], [inside + 3], [7], n_best=1)
    assert (found[7].start, found[7].end, found[7].null) == (0, 3, False)
    nothing = np.full(4, -1)  # no token of the context in the window: the empty text
    found = squad.best_answers([np.zeros(4)], [np.zeros(4)], [nothing], [nothing], [0])
    assert found[0].score == -np.inf and found[0].text("context") == ""
