"""Dev metrics: SQuAD's by their definition and the best answer by a search of all pairs; average precision of pairs by

scikit-learn; intervals by closed forms and by the spread over other draws of examples.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score

from tasks import intervals
from tasks.pair import gradient_caching
from tasks.regress import model as regress
from tasks.span import squad
from tests.support.slow_text import slow_f1, slow_words

ANSWERS = st.lists(
    st.sampled_from(
        ["a", "an", "the", "The", "theatre", "cat", "Cat,", "U.S.", "$3", "日本", "¿qué?", "un", "l'eau", "—", "AN."]
    ),
    max_size=6,
).map(" ".join)


def words(text: str) -> list[str]:
    return slow_words(text, {"a", "an", "the"}, unicode_punctuation=False)


@settings(max_examples=200)
@given(ANSWERS, ANSWERS)
def test_metrics_follow_the_definition(prediction: str, gold: str) -> None:
    left, right = words(prediction), words(gold)
    assert squad.squad_scores(prediction, [gold]) == (float(left == right), pytest.approx(slow_f1(left, right)))
    if left and right:
        assert squad.squad_scores(prediction, [gold], v2=True) == squad.squad_scores(prediction, [gold])


def test_known_values() -> None:
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


def test_correlations() -> None:
    """Pearson's, Spearman's of the ranks, and Fisher's interval (tanh of z +- 1.96 / sqrt(n - 3)), by NumPy."""
    x, y = np.array([[1.0, 2.0, 4.0, 3.0, 9.0], [1.0, 3.0, 2.0, 4.0, 5.0]])
    head, outcomes, r = regress.Head.__new__(regress.Head), np.stack([x, y], 1), np.corrcoef(x, y)[0, 1]
    found = head.dev_metrics(np.array([6.0, 3.0, 0.0, 0.0]), outcomes, {})
    assert found == pytest.approx({"pearson": r, "spearman": np.corrcoef(x.argsort().argsort(), y)[0, 1], "loss": 2.0})
    z = np.arctanh([r, *head.dev_interval(r, outcomes, outcomes, {})])
    assert z[1:] - z[0] == pytest.approx(np.array([-1, 1]) * 1.959964 / np.sqrt(len(x) - 3))


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
    sizes = rng.integers(5, 30, rng.integers(1, 6))
    # Whole numbers, so that equal scores occur.
    starts, ends = ([rng.integers(-4, 5, size).astype(np.float32) for size in sizes] for _ in range(2))
    for first in starts if seed % 2 else ():
        first[0] += 12  # so that there is no answer
    begin = [np.where(np.arange(size) >= 3, 2 * np.arange(size), -1) for size in sizes]
    stop = [np.where(first >= 0, first + 1, -1) for first in begin]
    found = squad.best_answer(
        list(zip(starts, ends, begin, stop, strict=True)), n_best=n_best, max_answer_length=longest, null_allowed=True
    )
    windows = [(first, last, at >= 0) for first, last, at in zip(starts, ends, begin, strict=True)]
    best = best_of_all(windows, n_best, longest) or best_of_all(windows, None, longest)
    assert best is not None
    negative, w, s, e = best
    assert (found.score, found.start, found.end) == (-negative, begin[w][s], stop[w][e])
    assert found.null == (min(float(first[0] + last[0]) for first, last in zip(starts, ends, strict=True)) > -negative)
    assert found.text("x" * 100) == ("" if found.null else "x" * (found.end - found.start))


def test_without_null_there_is_always_a_span() -> None:
    starts, ends = np.array([9.0, 0, 0, 1, 5]), np.array([9.0, 0, 0, 5, 1])
    inside = np.array([-1, -1, -1, 0, 4])
    # The one best start lies after the one best end: the limit of one is dropped rather than no answer given.
    found = squad.best_answer([(starts, ends, inside, inside + 3)], n_best=1)
    assert (found.start, found.end, found.null) == (0, 3, False)
    nothing = np.full(4, -1)  # no token of the context in the window: the empty text
    found = squad.best_answer([(np.zeros(4), np.zeros(4), nothing, nothing)])
    assert found.score == -np.inf and found.text("context") == ""


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_average_precision_is_scikit_learns(count, groups, negatives, seed):
    """Of the own passage among the different texts, without those of its group but for its own hard negative."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3 if negatives else 2, 5))
    texts = rng.normal(size=(count, 5))
    keys = rng.integers(0, count, size=(count, 3))  # equal keys, equal texts
    keys[:, 0] = rng.integers(0, groups, size=count) if groups < count else np.arange(count)
    keys[:, 2] = np.where(rng.random(count) < 0.5, keys[:, 2], -1) if negatives else -1
    for column in range(1, vectors.shape[1]):
        vectors[:, column] = texts[keys[:, column]]
    found = gradient_caching.average_precision(torch.from_numpy(vectors), torch.from_numpy(keys), k=count * 2)
    for (group, own, negative), query, precision in zip(keys, vectors[:, 0], found.tolist(), strict=True):
        number = next(i for i in range(count) if (vectors[i, 0] == query).all())
        ranked = {text for row in keys.tolist() for text in row[1:] if text >= 0}
        ranked -= {text for i, row in enumerate(keys.tolist()) if row[0] == group and i != number for text in row[1:]}
        ranked = sorted(ranked | {own} | ({negative} if negative >= 0 else set()))
        wanted = label_ranking_average_precision_score(
            [[text == own for text in ranked]], [[query @ texts[text] for text in ranked]]
        )
        assert precision == pytest.approx(wanted)


def test_accuracy_is_wilsons_closed_form():
    for right, n in ((0, 8), (3, 8), (500, 500), (57, 100)):
        z, p = 1.959963984540054, right / n
        middle, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        expected = ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
        values = np.arange(n) < right
        assert intervals.accuracy(values.astype(float), np.ones(n)) == pytest.approx(expected, abs=1e-9)


def test_words_of_a_sentence_go_together():
    """All words of a sentence right or wrong: nominal coverage over draws of sentences, of another length each."""
    rng, truth, covered = np.random.default_rng(2), 0.7, 0
    for _ in range(2000):
        units = rng.integers(5, 30, 80).astype(float)
        low, high = intervals.accuracy(units * (rng.random(80) < truth), units)
        covered += low <= truth <= high
    assert 0.92 < covered / 2000 < 0.98
    # None right: as if each sentence were one unit.
    assert intervals.accuracy(0 * units, units) == intervals.accuracy(np.zeros(80), np.ones(80)) != (0.0, 0.0)


def test_a_mean_is_students():
    values = np.random.default_rng(3).random(40)
    half = 2.022690911734728 * values.std(ddof=1) / np.sqrt(40)  # t of 39 degrees of freedom, from a table
    assert intervals.mean(values) == pytest.approx((values.mean() - half, values.mean() + half))
