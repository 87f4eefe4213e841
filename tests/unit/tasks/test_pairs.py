"""Average precision of pairs is scikit-learn's. Their gradients: tests/distributed/test_exact.py."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score

from tasks.pair import gradient_caching


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_average_precision_is_scikit_learns(count, seed):
    rng = np.random.default_rng(seed)
    queries, texts = rng.normal(size=(count, 5)), rng.normal(size=(count, 5))
    keys = rng.integers(0, count, size=count)
    texts = texts[keys]  # the same key, the same text
    first = np.sort(np.unique(keys, return_index=True)[1])
    vectors, all_keys = np.stack([queries, texts], 1), np.stack([keys, keys, np.full(count, -1)], 1)
    found = gradient_caching.average_precision(torch.from_numpy(vectors), torch.from_numpy(all_keys), k=count)
    wanted = [
        label_ranking_average_precision_score((keys[first] == key)[None], (query @ texts[first].T)[None])
        for query, key in zip(queries, keys, strict=True)
    ]
    assert found.numpy() == pytest.approx(wanted)
