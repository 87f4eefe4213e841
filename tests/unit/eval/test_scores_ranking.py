"""Average precision against its definition; ranks and rank distance against a sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.retrieval import ranking


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
    assert ranking.mean_average_precision(ranked, golds) == pytest.approx(expected)


def test_ranks_and_rank_distance() -> None:
    scores = np.random.default_rng(0).integers(0, 8, 200).astype(np.float32)  # many equal ones
    order = sorted(range(200), key=lambda place: (-scores[place], place))
    assert ranking.ranks(scores, range(200)) == [order.index(place) + 1 for place in range(200)]
    assert ranking.rank_distance([[1, 4, 2], [1, 2]]) == pytest.approx((3 + 1) / 2)
