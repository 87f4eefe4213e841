"""BUCC mining against the whole matrix of cosines, and the threshold against every other one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.retrieval import mining, neighbors
from eval.retrieval.mining import Mined
from eval.rows import Corpus


def neighbours(queries: np.ndarray, index: np.ndarray, k: int = 4) -> mining.Neighbours:
    return neighbors.top_k(neighbors.normalise(queries), neighbors.normalise(index), min(k, len(index)))


def slow_mining(x: np.ndarray, y: np.ndarray, k: int = 4) -> list[tuple[float, int, int]]:
    """Margin of every pair of the whole matrix, best neighbour of each sentence both ways, greedy from the top."""
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    cosine = x @ y.T
    near_x, near_y = np.argsort(-cosine, axis=1)[:, :k], np.argsort(-cosine.T, axis=1)[:, :k]
    mean_x = np.take_along_axis(cosine, near_x, 1).mean(axis=1)
    mean_y = np.take_along_axis(cosine.T, near_y, 1).mean(axis=1)
    margin = cosine / ((mean_x[:, None] + mean_y) / 2)
    candidates = {(i, max(near_x[i], key=lambda j, i=i: margin[i, j])) for i in range(len(x))}
    candidates |= {(max(near_y[j], key=lambda i, j=j: margin[i, j]), j) for j in range(len(y))}
    pairs, left, right = [], set(), set()
    for score, i, j in sorted(((margin[i, j], i, j) for i, j in candidates), reverse=True):
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            if score > 0:
                pairs.append((score, i, j))
    return pairs


def corpus(code: str, n: int) -> Corpus:
    return Corpus([f"{code}-{i}" for i in range(n)], [f"{code} {i}" for i in range(n)])


@pytest.mark.parametrize("seed", range(12))
def test_pairs_are_those_of_the_whole_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(1, 60, 2)
    # In one half of the cases all vectors share a direction, in the other there are negative margins.
    x = rng.normal(size=(sources, 8)) + seed % 2
    alike = x[: targets // 2] + 0.3 * rng.normal(size=x[: targets // 2].shape)
    y = np.concatenate([alike, rng.normal(size=(targets, 8))])[:targets]
    mined = mining.mine(neighbours(x, y), neighbours(y, x), corpus("de", sources), corpus("en", targets))
    expected = slow_mining(x, y)
    assert list(mined.pairs) == [(f"de-{i}", f"en-{j}") for _, i, j in expected]
    np.testing.assert_allclose(mined.scores, [score for score, _, _ in expected], rtol=1e-5)


def test_a_margin_below_zero_is_no_pair() -> None:
    """Two by two, cosines written down. The second source is nearest to the second target, but far from everything."""
    forward = np.array([[0.95, 0.9], [-0.1, -0.2]]), np.array([[0, 1], [1, 0]])
    backward = np.array([[0.95, -0.2], [0.9, -0.1]]), np.array([[0, 1], [0, 1]])
    mined = mining.mine(forward, backward, corpus("de", 2), corpus("en", 2))
    assert list(mined.pairs) == [("de-0", "en-0")]
    assert mined.scores.tolist() == [pytest.approx(0.95 / ((0.925 + 0.375) / 2))]


def test_repeated_sentences_are_embedded_once_and_left_out() -> None:
    source = Corpus(["de-1", "de-2", "de-3", "de-4"], ["eins", "zwei", "eins", "drei"])
    target = Corpus(["en-1", "en-2", "en-3", "en-4"], ["one", "two", "three", "two "])
    assert source.distinct().tolist() == [0, 1, 3] and source.unrepeated().tolist() == [False, True, True]
    # White space around a sentence makes it another text to embed, and a repetition all the same.
    assert target.distinct().tolist() == [0, 1, 2, 3] and target.unrepeated().tolist() == [True, False, True, False]
    x, y = np.eye(5)[[0, 1, 2]], np.eye(5)[[0, 1, 2, 3]]
    mined = mining.mine(neighbours(x, y), neighbours(y, x), source, target)
    assert list(mined.pairs) == [("de-4", "en-3")]  # eins-one and zwei-two are found, and dropped
    with pytest.raises(ValueError, match="3 and 4 are distinct"):
        mining.mine(neighbours(y, x), neighbours(x, y), source, target)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=12), st.integers(0, 3))
def test_no_threshold_has_a_higher_f1(rows: list[tuple[int, bool]], unmined: int) -> None:
    """Few different scores, so that many are equal; some gold pairs are not among the mined ones."""
    rows = sorted(rows, key=lambda row: -row[0])
    pairs = [(f"s{n}", f"t{n}") for n in range(len(rows))]
    gold = {pair for pair, (_, right) in zip(pairs, rows, strict=True) if right}
    gold |= {("s", str(n)) for n in range(unmined)}

    def f1(taken: set[mining.Pair]) -> float:
        return 100 * 2 * len(taken & gold) / (len(taken) + len(gold)) if taken & gold else 0.0

    mined = Mined(np.array([score for score, _ in rows], dtype=float), pairs)
    threshold = mining.best_threshold(mined, gold)
    reached = f1(set(mining.extract(mined, threshold)))
    assert mining.f1(mining.extract(mined, threshold), gold)["f1"] == pytest.approx(reached)
    cuts = sorted({score for score, _ in rows})
    every = {cut: f1({pair for pair, (score, _) in zip(pairs, rows, strict=True) if score >= cut}) for cut in cuts}
    assert reached == pytest.approx(max(every.values(), default=0.0))
    # Half-way to the next lower score. Of cuts that are equally good any will do: they may differ in the last bit.
    best = [cut for cut in cuts if every[cut] == pytest.approx(reached)]
    middles = [(cut + max([c for c in cuts if c < cut], default=cut)) / 2 for cut in best]
    assert threshold in middles if reached else threshold == 0.0


def test_threshold_known_values() -> None:
    pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    mined = Mined(np.array([1.4, 1.2, 1.1, 1.0]), pairs)
    assert mining.best_threshold(mined, pairs[:2]) == pytest.approx(1.15)
    assert mining.best_threshold(mined, pairs) == 1.0  # all of them: the official script reads past its list here
    # Equal scores stand or fall together. Cut between them, as the official script does, 1.2 would promise F1 100.
    mined = Mined(np.array([1.4, 1.2, 1.2, 1.0]), pairs)
    assert mining.best_threshold(mined, pairs[:2]) == pytest.approx(1.1)
    assert mining.extract(mined, 1.2) == pairs[:3]
    # No float lies between these two.
    mined = Mined(np.array([np.nextafter(1.0, 2.0), 1.0]), pairs[:2])
    assert mining.extract(mined, mining.best_threshold(mined, pairs[:1])) == pairs[:1]
    assert mining.f1([], pairs) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    # A pair given twice is one pair.
    assert mining.f1([pairs[0], pairs[0]], pairs[:1]) == {"f1": 100.0, "precision": 100.0, "recall": 100.0}
    assert mining.f1([pairs[0]], pairs[:2]) == {"f1": pytest.approx(200 / 3), "precision": 100.0, "recall": 50.0}
