"""Intervals of dev scores: closed forms and the spread over other draws of examples."""

import numpy as np
import pytest

from tasks import intervals


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
    rng = np.random.default_rng(3)
    values = rng.random(40)
    half = 2.022690911734728 * values.std(ddof=1) / np.sqrt(40)  # t of 39 degrees of freedom, from a table
    assert intervals.mean(values) == pytest.approx((values.mean() - half, values.mean() + half))
