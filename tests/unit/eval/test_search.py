"""Exact neighbours: scikit-learn's, by whole-number arithmetic where float32 cannot decide, in bounded memory."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from common.errors import InputError
from eval.retrieval.neighbors import top_k, top_k_both
from tests.support.launch import run


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def by_sorting(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """Indices by float64 dot products, the earlier row first where they are equal."""
    return np.argsort(-(queries.astype(np.float64) @ index.astype(np.float64).T), axis=1, kind="stable")[:, :k]


def by_whole_numbers(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """Indices by exact dot products (Python's whole numbers), the earlier row first where they are equal."""
    whole = []
    for side in (queries, index):
        scaled = side.astype(np.float64) * 2.0**60  # whole numbers, if none is smaller than 2^-36
        assert (scaled % 1 == 0).all()
        whole.append(np.array([[int(v) for v in row] for row in scaled], dtype=object))
    return np.array([sorted(range(len(index)), key=lambda i: (-scores[i], i))[:k] for scores in whole[0] @ whole[1].T])


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_equal_scores_go_to_the_earlier_row(width: int, n: int, m: int, seed: int) -> None:
    """Small whole numbers: every product is exact and most are equal to others."""
    rng = np.random.default_rng(seed)
    left, right = (rng.integers(-2, 3, size=(rows, width)).astype(np.float32) for rows in (n, m))
    k = int(rng.integers(1, min(n, m) + 1))
    there, back = top_k_both(left, right, k)
    for (scores, places), x, y in ((there, left, right), (back, right, left)):
        expected = by_sorting(x, y, k)
        assert (places == expected).all()
        assert (scores == np.take_along_axis(x @ y.T, expected, 1)).all()


def test_what_float32_cannot_decide_is_decided() -> None:
    """Index rows that differ in their last bits: float32 products order them by rounding error."""
    wrong = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        start = rng.normal(size=24)
        index = np.float32(start * (1 + 3e-8 * rng.normal(size=(90, 24))))
        index = np.concatenate([index, index[rng.integers(0, 90, 30)], rng.normal(size=(80, 24)).astype(np.float32)])
        queries = np.float32(start + 0.5 * rng.normal(size=(6, 24)))
        k = seed % 6 + 1
        expected = by_whole_numbers(queries, index, k)
        assert (top_k(queries, index, k)[1] == expected).all()
        assert (top_k_both(index, queries, k)[1][1] == expected).all()
        wrong += int(((queries @ index.T).argmax(axis=1) != expected[:, 0]).sum())
    assert wrong > 0  # float32 alone fails here


def test_cosines_in_float64_and_equal_vectors() -> None:
    """Unit vectors of any lengths before; of equal vectors the first are taken, also of zeros."""
    rng = np.random.default_rng(2)
    left, right = (rng.normal(size=(n, 12)).astype(np.float32) for n in (70, 150))
    right[7] = 0
    longer = left * rng.lognormal(0, 3, size=(70, 1)).astype(np.float32)
    sides = (torch.nn.functional.normalize(torch.from_numpy(side).double(), dim=1) for side in (longer, right))
    places = top_k(*sides, 6)[1]
    near = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(right.astype(np.float64))
    assert (places == near.kneighbors(left.astype(np.float64), return_distance=False)).all()
    for same in (np.zeros((700, 12), np.float32), np.tile(right[:1], (700, 1))):
        assert (top_k(same[:9], same, 4)[1] == np.arange(4)).all()


def test_vectors_that_are_not_finite_are_refused() -> None:
    five = np.eye(5, dtype=np.float32)
    five[3, 1] = np.nan
    with pytest.raises(InputError, match=r"index.*row 3 .*NaN"):
        top_k(five[:3], five, 1)


MEMORY = """
import resource
import numpy as np
from eval.retrieval.neighbors import top_k_both
n, m, k = 10_000, 20_000, 4
rng = np.random.default_rng(0)
# Anisotropic as real encoders' vectors are.
left, right = ((1 + rng.normal(size=(rows, 16))).astype(np.float32) for rows in (n, m))
top_k_both(left[:3000], right[:3000], k)  # libraries have their buffers now
data = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
limit = data + n * m * 4 // 2
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
for step in (1, 40):  # random vectors, then hundreds of copies
    if step > 1:
        left[::step], right[::step] = left[0], right[0]
    (_, places), _ = top_k_both(left, right, k)
    exact = left[:50].astype(np.float64) @ right.astype(np.float64).T
    assert (places[:50] == np.argsort(-exact, axis=1, kind="stable")[:, :k]).all()
try:
    left @ right.T
except MemoryError:
    print("bounded")
"""


def test_memory_is_bounded() -> None:
    """10,000 x 20,000 within half of what all scores at once would take: the kernel refuses what goes beyond."""
    assert run(sys.executable, "-c", MEMORY).stdout == "bounded\n"


@pytest.mark.gpu
def test_a_gpu_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the program has allowed TF32, which alone would be wrong."""
    rng = np.random.default_rng(0)
    left, right = (unit(2 + rng.normal(size=(n, 128))) for n in (9000, 20000))
    expected = top_k_both(left, right, 4)
    monkeypatch.setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32")
    on_gpu = (torch.from_numpy(side).cuda() for side in (left, right))
    for one, other in zip(top_k_both(*on_gpu, 4), expected, strict=True):
        assert (one[1] == other[1]).all()
        np.testing.assert_allclose(one[0], other[0], atol=1e-6)
