"""BUCC mining against the whole matrix of cosines, its threshold against every other one; ranks against definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.retrieval import mining, neighbors, ranking
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


def test_repeated_sentences_are_embedded_once_and_left_out() -> None:
    source = Corpus(["de-1", "de-2", "de-3", "de-4"], ["eins", "zwei", "eins", "drei"])
    target = Corpus(["en-1", "en-2", "en-3", "en-4"], ["one", "two", "three", "two "])
    assert source.distinct().tolist() == [0, 1, 3] and source.unrepeated().tolist() == [False, True, True]
    # White space around a sentence makes it another text to embed, and a repetition all the same.
    assert target.distinct().tolist() == [0, 1, 2, 3] and target.unrepeated().tolist() == [True, False, True, False]
    x, y = np.eye(5)[[0, 1, 2]], np.eye(5)[[0, 1, 2, 3]]
    mined = mining.mine(neighbours(x, y), neighbours(y, x), source, target)
    assert list(mined.pairs) == [("de-4", "en-3")]  # eins-one and zwei-two are found, and dropped


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
    assert mining.f1(mining.extract(mined, threshold), gold).scores()["f1"] == pytest.approx(reached)
    cuts = sorted({score for score, _ in rows})
    every = {cut: f1({pair for pair, (score, _) in zip(pairs, rows, strict=True) if score >= cut}) for cut in cuts}
    assert reached == pytest.approx(max(every.values(), default=0.0))
    # Half-way to the next lower score. Of cuts that are equally good any will do: they may differ in the last bit.
    best = [cut for cut in cuts if every[cut] == pytest.approx(reached)]
    middles = [(cut + max([c for c in cuts if c < cut], default=cut)) / 2 for cut in best]
    assert threshold in middles if reached else threshold == 0.0


def test_equal_scores_stand_or_fall_together() -> None:
    pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    # Cut between them, as the official script does, 1.2 would promise F1 100.
    mined = Mined(np.array([1.4, 1.2, 1.2, 1.0]), pairs)
    assert mining.best_threshold(mined, pairs[:2]) == pytest.approx(1.1)
    assert mining.extract(mined, 1.2) == pairs[:3]


# Ranks and average precision


def slow_ap(ranked: list[int], relevant: set[int], k: int) -> float:
    """Mean over min(R, k) of the precision of the list up to each relevant candidate among the first k."""
    once = [c if c not in ranked[:n] else None for n, c in enumerate(ranked)]
    total = 0.0
    for place in range(min(k, len(once))):
        if once[place] in relevant:
            total += sum(c in relevant for c in once[: place + 1]) / (place + 1)
    return total / min(len(relevant), k)


@settings(max_examples=150)
@given(st.lists(st.integers(0, 30), max_size=40), st.sets(st.integers(0, 30), min_size=1, max_size=25))
def test_average_precision_follows_the_definition(ranked: list[int], relevant: set[int]) -> None:
    for k in (1, 5, 20):
        assert ranking.average_precision(ranked, relevant, k) == pytest.approx(slow_ap(ranked, relevant, k))


def test_known_values() -> None:
    # More than 20 relevant ones: the first 20 places can hold no more. One that comes twice counts once.
    assert ranking.average_precision(list(range(20)), set(range(25))) == 1.0
    assert ranking.average_precision(["a", "a", "b"], {"a", "b"}) == pytest.approx((1 + 2 / 3) / 2)
    # With one relevant candidate it is the reciprocal rank; the last one stands in place 21.
    ranked = [["x", "Q1"], ["Q2"], ["x", "y", "z"], [], ["x", *["y"] * 18, "Q5"], ["x", *"abcdefghijklmnopqrs", "Q6"]]
    golds = [{"Q1"}, {"Q2"}, {"Q3"}, {"Q4"}, {"Q5"}, {"Q6"}]
    expected = 100 * (1 / 2 + 1 + 0 + 0 + 1 / 20 + 0) / 6
    assert ranking.mean_average_precision(ranked, golds).scores() == {"map@20": pytest.approx(expected)}


def test_ranks_and_rank_distance() -> None:
    scores = np.random.default_rng(0).integers(0, 8, 200).astype(np.float32)  # many equal ones
    order = sorted(range(200), key=lambda place: (-scores[place], place))
    assert ranking.ranks(scores, range(200)) == [order.index(place) + 1 for place in range(200)]
    assert ranking.rank_distance([[1, 4, 2], [1, 2]]) == pytest.approx((3 + 1) / 2)
