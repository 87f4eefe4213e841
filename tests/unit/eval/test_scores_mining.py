"""BUCC mining against a slow one over the whole matrix of cosines, written from the definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.retrieval import mining, retrieve
from eval.retrieval.mining import Corpus, Mined


def neighbours(queries: np.ndarray, index: np.ndarray, k: int = 4) -> mining.Neighbours:
    return retrieve.top_k(retrieve.normalise(queries), retrieve.normalise(index), min(k, len(index)))


def slow_mining(x: np.ndarray, y: np.ndarray, k: int = 4) -> list[tuple[float, int, int]]:
    """Margin of every pair of the whole matrix, best neighbour of each sentence both ways, greedy from the top."""
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x.astype(float), y.astype(float)))
    cosine = x @ y.T
    near_x = [sorted(range(len(y)), key=lambda j, i=i: -cosine[i, j])[:k] for i in range(len(x))]
    near_y = [sorted(range(len(x)), key=lambda i, j=j: -cosine[i, j])[:k] for j in range(len(y))]
    mean_x = [math.fsum(cosine[i, near_x[i]]) / len(near_x[i]) for i in range(len(x))]
    mean_y = [math.fsum(cosine[near_y[j], j]) / len(near_y[j]) for j in range(len(y))]

    def margin(i: int, j: int) -> float:
        return cosine[i, j] / ((mean_x[i] + mean_y[j]) / 2)

    candidates = {(i, max(near_x[i], key=lambda j, i=i: margin(i, j))) for i in range(len(x))}
    candidates |= {(max(near_y[j], key=lambda i, j=j: margin(i, j)), j) for j in range(len(y))}
    pairs, left, right = [], set(), set()
    for score, i, j in sorted(((margin(i, j), i, j) for i, j in candidates), reverse=True):
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            if score > 0:
                pairs.append((score, i, j))
    return pairs


@pytest.mark.parametrize("seed", range(25))
def test_pairs_are_those_of_the_whole_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(1, 60, 2)
    # In one half of the cases all vectors share a direction, in the other there are negative margins.
    x = rng.normal(size=(sources, 8)) + seed % 2
    y = np.concatenate(
        [x[: targets // 2] + 0.3 * rng.normal(size=x[: targets // 2].shape), rng.normal(size=(targets, 8))]
    )
    y = y[:targets]
    scores, left, right = mining.margin_pairs(neighbours(x, y), neighbours(y, x))
    expected = slow_mining(x, y)
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == [(i, j) for _, i, j in expected]
    np.testing.assert_allclose(scores, [score for score, _, _ in expected], rtol=1e-5)
    assert len(set(left.tolist())) == len(left) and len(set(right.tolist())) == len(right)


def test_a_margin_below_zero_is_no_pair() -> None:
    """Two by two, cosines written down. The second source is nearest to the second target, but far from everything."""
    forward = np.array([[0.95, 0.9], [-0.1, -0.2]]), np.array([[0, 1], [1, 0]])
    backward = np.array([[0.95, -0.2], [0.9, -0.1]]), np.array([[0, 1], [0, 1]])
    scores, left, right = mining.margin_pairs(forward, backward)
    assert (left.tolist(), right.tolist()) == ([0], [0])
    assert scores.tolist() == [pytest.approx(0.95 / ((0.925 + 0.375) / 2))]


def test_repeated_sentences_are_embedded_once_and_left_out() -> None:
    source = Corpus(["de-1", "de-2", "de-3", "de-4"], ["eins", "zwei", "eins", "drei"])
    target = Corpus(["en-1", "en-2", "en-3", "en-4"], ["one", "two", "three", "two "])
    assert source.distinct().tolist() == [0, 1, 3] and source.unrepeated().tolist() == [False, True, True]
    # White space around a sentence makes it another text to embed, and a repetition all the same.
    assert target.distinct().tolist() == [0, 1, 2, 3] and target.unrepeated().tolist() == [True, False, True, False]
    x, y = np.eye(5)[[0, 1, 2]], np.eye(5)[[0, 1, 2, 3]]
    mined = mining.mine(neighbours(x, y), neighbours(y, x), source, target)
    assert list(mined.pairs) == [("de-4", "en-3")]  # eins-one and zwei-two are found, and dropped
    assert mining.f1(mined.pairs, {("de-4", "en-3"), ("de-1", "en-1")}) == {
        "f1": pytest.approx(200 / 3), "precision": 100.0, "recall": 50.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="3 and 4 are distinct"):
        mining.mine(neighbours(y, x), neighbours(x, y), source, target)
    with pytest.raises(ValueError, match="2 ids for 1 sentences"):
        Corpus(["a", "b"], ["x"])


def slow_f1(taken: set, gold: set) -> float:
    return 2 * len(taken & gold) / (len(taken) + len(gold)) if taken & gold else 0.0


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=12),
    st.integers(0, 3),
)
def test_no_threshold_has_a_higher_f1(rows: list[tuple[int, bool]], unmined: int) -> None:
    """Few different scores, so that many are equal; some gold pairs are not among the mined ones."""
    rows = sorted(rows, key=lambda row: -row[0])
    pairs = [(f"s{n}", f"t{n}") for n in range(len(rows))]
    gold = {pair for pair, (_, right) in zip(pairs, rows, strict=True) if right} | {
        ("s", str(n)) for n in range(unmined)
    }
    mined = Mined(np.array([score for score, _ in rows], dtype=float), pairs)
    threshold = mining.best_threshold(mined, gold)
    reached = slow_f1(set(mining.extract(mined, threshold)), gold)
    every = {
        cut: slow_f1({pair for pair, (score, _) in zip(pairs, rows, strict=True) if score >= cut}, gold)
        for cut, _ in rows
    }
    assert reached == pytest.approx(max(every.values(), default=0.0))
    if not any(right for _, right in rows):
        assert threshold == 0.0
        return
    # Half-way to the next lower score. Of cuts that are equally good any will do: they may differ in the last bit.
    best = [cut for cut, value in every.items() if value == pytest.approx(reached)]
    assert threshold in [(cut + max([c for c in every if c < cut], default=cut)) / 2 for cut in best]


def test_threshold_known_values() -> None:
    pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    mined = Mined(np.array([1.4, 1.2, 1.1, 1.0]), pairs)
    assert mining.best_threshold(mined, pairs[:2]) == pytest.approx(1.15)
    assert mining.best_threshold(mined, pairs) == 1.0  # all of them: the official script reads past its list here
    assert mining.best_threshold(mined, [("x", "y")]) == 0.0
    assert mining.best_threshold(Mined(np.array([]), []), pairs) == 0.0
    # Equal scores stand or fall together. Cut between them, as the official script does, 1.2 would promise F1 100.
    mined = Mined(np.array([1.4, 1.2, 1.2, 1.0]), pairs)
    assert mining.best_threshold(mined, pairs[:2]) == pytest.approx(1.1)
    assert mining.extract(mined, 1.2) == pairs[:3]
    # No float lies between these two.
    above = np.nextafter(1.0, 2.0)
    mined = Mined(np.array([above, 1.0]), pairs[:2])
    assert mining.extract(mined, mining.best_threshold(mined, pairs[:1])) == pairs[:1]
    assert mining.f1([], pairs) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    # A pair given twice is one pair.
    assert mining.f1([pairs[0], pairs[0]], pairs[:1]) == {"f1": 100.0, "precision": 100.0, "recall": 100.0}


def test_from_sentences_to_the_score_on_test() -> None:
    """Two splits with translations and sentences that have none; the threshold of dev must keep the latter out."""
    rng = np.random.default_rng(3)

    def split(pairs: int, alone: int) -> tuple[Mined, set[mining.Pair]]:
        meaning = rng.normal(size=(pairs, 32))
        x = np.concatenate([meaning + 0.4 * rng.normal(size=meaning.shape), rng.normal(size=(alone, 32))]) + 0.5
        y = np.concatenate([meaning + 0.4 * rng.normal(size=meaning.shape), rng.normal(size=(alone, 32))]) + 0.5
        source, target = (
            Corpus([f"{code}-{n}" for n in range(len(x))], [f"{code} {n}" for n in range(len(x))])
            for code in ("de", "en")
        )
        gold = {(f"de-{n}", f"en-{n}") for n in range(pairs)}
        return mining.mine(neighbours(x, y), neighbours(y, x), source, target), gold

    (dev, dev_gold), (test, test_gold) = split(40, 200), split(60, 300)
    threshold = mining.best_threshold(dev, dev_gold)
    scores = mining.f1(mining.extract(test, threshold), test_gold)
    assert scores["f1"] > 90 > mining.f1(mining.extract(test, 0.0), test_gold)["f1"] + 20
    assert min(scores.values()) <= scores["f1"] <= max(scores.values())


def test_greedy_does_not_depend_on_the_block() -> None:
    rng = np.random.default_rng(5)
    source, target = rng.integers(0, 40, 500), rng.integers(0, 40, 500)
    whole = mining._greedy(source, target, 40, 40)
    assert (mining._greedy(source, target, 40, 40, block=7) == whole).all()
    left, right = set(), set()
    for place, (i, j) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        assert whole[place] == (i not in left and j not in right)
        if whole[place]:
            left.add(i)
            right.add(j)
