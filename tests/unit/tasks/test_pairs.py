"""Average precision of pairs is scikit-learn's. Their gradients: tests/distributed/test_exact.py."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score

from tasks.pair import gradient_caching


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
