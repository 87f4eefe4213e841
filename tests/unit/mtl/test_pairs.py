"""Pairs: cached gradients are autograd's, average precision is scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score
from torch.nn import functional as F

from mtl import pairs


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_gradients_equal_autograd_through_everything(count, seed):
    """The gradient with respect to vectors and scale is that of the plain loss; equal passages are no negatives."""
    torch.manual_seed(seed)
    raw = torch.randn(count, 2, 6, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    keys = torch.randint(0, 4, (count,))
    vectors = F.normalize(raw, dim=2)
    total = 0
    for i in range(count):
        seen = [j for j in range(count) if j == i or keys[j] != keys[i]]
        scores = scale * (vectors[i, 0] @ vectors[seen, 1].T)
        total = total - torch.log_softmax(scores, 0)[seen.index(i)]
    expected = torch.autograd.grad(total, (raw, scale))
    by_vector, by_scale, units = pairs.gradients(pairs.Gathered(vectors.detach(), keys), scale)
    assert torch.allclose(units[:, 0].sum().double(), total.detach(), rtol=1e-5)
    assert torch.allclose(by_scale.double(), expected[1], rtol=1e-4, atol=1e-4)
    found = torch.autograd.grad((F.normalize(raw, dim=2) * by_vector).sum(), raw)[0]
    assert torch.allclose(found, expected[0], rtol=1e-4, atol=1e-5)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_average_precision_is_scikit_learns(count, seed):
    rng = np.random.default_rng(seed)
    queries, texts = rng.normal(size=(count, 5)), rng.normal(size=(count, 5))
    keys = rng.integers(0, count, size=count)
    texts = texts[keys]  # the same key, the same text
    first = np.sort(np.unique(keys, return_index=True)[1])
    found = pairs.average_precision(*(torch.from_numpy(x) for x in (queries, texts, keys)), k=count)
    wanted = [
        label_ranking_average_precision_score((keys[first] == key)[None], (query @ texts[first].T)[None])
        for query, key in zip(queries, keys, strict=True)
    ]
    assert found.numpy() == pytest.approx(wanted)
