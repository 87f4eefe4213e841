"""Exact search against scikit-learn, against whole-number arithmetic where float32 cannot decide, and its memory."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from common.errors import InputError
from eval.retrieval import search
from eval.retrieval.search import top_k, top_k_both
from eval.retrieval.search_candidates import Candidates

HOUSE = Path(__file__).resolve().parents[3]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def by_definition(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """Places by exact dot products (Python's whole numbers), the earlier row first where they are equal."""
    whole = []
    for side in (queries, index):
        scaled = side.astype(np.float64) * 2.0**60  # whole numbers, if none is smaller than 2^-36
        assert (scaled % 1 == 0).all()
        whole.append(np.array([[int(v) for v in row] for row in scaled], dtype=object))
    return np.array([sorted(range(len(index)), key=lambda i: (-scores[i], i))[:k] for scores in whole[0] @ whole[1].T])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the rare ways of a search are taken."""
    seen: Counter[str] = Counter()
    for name in ("_squeeze", "_decide", "_search_exact"):
        method = getattr(Candidates, name)

        def counted(self, *rest, _name=name, _method=method):
            seen[_name] += 1
            return _method(self, *rest)

        monkeypatch.setattr(Candidates, name, counted)
    return seen


@pytest.mark.parametrize("block", [7, 64, 100, None])
@pytest.mark.parametrize("k", [1, 4, 50])
def test_neighbours_are_scikit_learns(block: int | None, k: int) -> None:
    rng = np.random.default_rng(k)
    queries, index = unit(rng.normal(size=(83, 16))), unit(rng.normal(size=(331, 16)))
    for there, back in (top_k_both(queries, index, k, block=block), top_k_both(index, queries, k, block=block)[::-1]):
        for (scores, places), left, right in ((there, queries, index), (back, index, queries)):
            near = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(right.astype(np.float64))
            distances, expected = near.kneighbors(left.astype(np.float64))
            assert places.dtype == np.int64 and scores.dtype == np.float32
            assert (places == expected).all()
            np.testing.assert_allclose(scores, 1 - distances, atol=1e-6)
    alone = top_k(queries, index, k, block=block)
    assert (alone[1] == top_k_both(queries, index, k, block=block)[0][1]).all()


def test_larger_than_a_block_at_its_real_size() -> None:
    """Several blocks of the size that is used, anisotropic as real encoders' vectors are."""
    rng = np.random.default_rng(0)
    common = 3 * rng.normal(size=24)
    left, right = (unit(common + rng.normal(size=(n, 24))) for n in (2200, 4300))
    there, back = top_k_both(left, right, 4)
    for (_, places), x, y in ((there, left, right), (back, right, left)):
        exact = x.astype(np.float64) @ y.astype(np.float64).T
        assert (places == np.argsort(-exact, axis=1, kind="stable")[:, :4]).all()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_equal_scores_go_to_the_earlier_row(data: st.DataObject) -> None:
    """Small whole numbers: every product is exact and most are equal to others."""
    width, n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 200))
    seed, k = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(1, min(n, m)))
    block = data.draw(st.integers(1, 210))
    rng = np.random.default_rng(seed)
    left, right = (rng.integers(-2, 3, size=(rows, width)).astype(np.float32) for rows in (n, m))
    there, back = top_k_both(left, right, k, block=block)
    for (scores, places), x, y in ((there, left, right), (back, right, left)):
        exact = x.astype(np.int64) @ y.astype(np.int64).T
        expected = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        assert (places == expected).all()
        assert (scores == np.take_along_axis(exact, expected, 1)).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([64, 200]))
def test_what_float32_cannot_decide_is_decided(seed: int, k: int, block: int) -> None:
    """Index rows that differ in their last bits: float32 products order them by rounding error."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=24)
    index = np.float32(start * (1 + 3e-8 * rng.normal(size=(90, 24))))
    index = np.concatenate([index, index[rng.integers(0, 90, 30)], rng.normal(size=(80, 24)).astype(np.float32)])
    queries = np.float32(start + 0.5 * rng.normal(size=(5, 24)))
    expected = by_definition(queries, index, k)
    assert (top_k(queries, index, k, block=block)[1] == expected).all()
    assert (top_k_both(index, queries, k if k <= 5 else 5, block=block)[1][1] == expected[:, :5]).all()


def test_float32_alone_would_be_wrong() -> None:
    """The case above is one: so the test can fail."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=24)
    index = np.float32(start * (1 + 3e-8 * rng.normal(size=(90, 24))))
    queries = np.float32(start + 0.5 * rng.normal(size=(40, 24)))
    assert ((queries @ index.T).argmax(axis=1) != by_definition(queries, index, 1)[:, 0]).any()


@pytest.mark.parametrize("both", [False, True])
def test_collapsed_vectors_and_copies(calls: Counter[str], both: bool) -> None:
    """All vectors equal (the `<s>` of layer 0), or hundreds of copies of the best one, in blocks and out of order."""

    def places(left: np.ndarray, right: np.ndarray, k: int) -> np.ndarray:
        return top_k_both(right, left, k, block=128)[1][1] if both else top_k(left, right, k, block=128)[1]

    same = np.tile(unit(np.random.default_rng(0).normal(size=(1, 32))), (700, 1))
    assert (places(same[:600], same, 3) == [0, 1, 2]).all()
    assert calls["_search_exact"] > 0
    rng = np.random.default_rng(3)
    index = unit(rng.normal(size=(900, 32)))
    copies = np.sort(rng.choice(900, 400, replace=False))
    index[copies] = index[copies[0]]
    query = unit(index[copies[:1]] + 0.1 * rng.normal(size=(5, 32)))
    assert (places(query, index, 5) == copies[:5]).all()
    assert (places(np.zeros((6, 32), np.float32), index, 4) == [0, 1, 2, 3]).all()


def test_the_best_lie_side_by_side_or_come_last(calls: Counter[str]) -> None:
    """Sorted corpora: one group holds far more than k of the best, and every block is better than those before."""
    rng = np.random.default_rng(5)
    query = unit(rng.normal(size=(3, 16)))
    index = unit(rng.normal(size=(640, 16)))
    index[100:160] = unit(query[:1] + 0.02 * rng.normal(size=(60, 16)))
    index = np.concatenate([index, unit(query[1:2] + np.linspace(2, 0.1, 4000)[:, None] * rng.normal(size=(4000, 16)))])
    exact = query.astype(np.float64) @ index.astype(np.float64).T
    for block in (64, 512, None):
        assert (top_k(query, index, 3, block=block)[1] == np.argsort(-exact, axis=1, kind="stable")[:, :3]).all()
        assert (top_k_both(index, query, 3, block=block)[1][1] == np.argsort(-exact, axis=1)[:, :3]).all()
    assert calls["_squeeze"] > 0 and calls["_search_exact"] == 0


def test_cosine_of_any_lengths(tmp_path: Path) -> None:
    """Lengths do not matter; arrays may be mapped read-only, and tensors do as well as arrays."""
    rng = np.random.default_rng(2)
    left, right = (rng.normal(size=(n, 12)).astype(np.float32) for n in (70, 150))
    right[7] = 0
    places = top_k(left * rng.lognormal(0, 3, size=(70, 1)).astype(np.float32), right, 6, cosine=True, block=64)[1]
    near = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(right.astype(np.float64))
    assert (places == near.kneighbors(left.astype(np.float64), return_distance=False)).all()
    np.save(tmp_path / "index.npy", right)
    mapped = np.load(tmp_path / "index.npy", mmap_mode="r")
    assert (top_k(left, mapped, 6, cosine=True)[1] == places).all()
    assert (top_k(torch.from_numpy(left), torch.from_numpy(right), 6, cosine=True)[1] == places).all()
    assert not (top_k(left, right * rng.lognormal(0, 3, size=(150, 1)).astype(np.float32), 6)[1] == places).all()


def test_what_cannot_be_searched_is_refused() -> None:
    five = np.eye(5, dtype=np.float32)
    with pytest.raises(ValueError, match="k = 6, but the index has 5 rows"):
        top_k(five, five, 6)
    with pytest.raises(ValueError, match="has 4 rows"):
        top_k_both(five[:4], five, 5)
    with pytest.raises(ValueError, match="expected"):
        top_k(five, five[:, :3], 1)
    assert top_k(five[:0], five, 2)[1].shape == (0, 2)
    broken = five.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match=r"index.*row 3 .*NaN"):
        top_k(five, broken, 1)


MEMORY = """
import resource, sys
import numpy as np
import torch
from eval import search
threads = int(sys.argv[2])
torch.set_num_threads(threads)
n, m, width, k = 24_000, 36_000, 16, 4
left, right = (np.memmap(sys.argv[1] + name, dtype=np.float32, mode="r", shape=(rows, width))
               for name, rows in (("left", n), ("right", m)))
search.top_k_both(left[:3000], right[:3000], k)  # threads and libraries have their buffers now
data = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
limit = search.memory(n, m, width, k, threads=threads)
resource.setrlimit(resource.RLIMIT_DATA, (data + limit, data + limit))
(scores, places), (_, back) = search.top_k_both(left, right, k)
for rows in (slice(0, 50), slice(n - 50, n)):
    exact = left[rows].astype(np.float64) @ right.astype(np.float64).T
    assert (places[rows] == np.argsort(-exact, axis=1, kind="stable")[:, :k]).all()
try:
    left @ right.T
except MemoryError:
    print(limit)
"""


@pytest.mark.parametrize(("collapsed", "threads"), [(False, 1), (True, 1), (False, 3)])
def test_memory_is_bounded(tmp_path: Path, collapsed: bool, threads: int) -> None:
    """The kernel refuses what goes beyond `memory`; vectors lie on disk, random ones or with hundreds of copies.

    All scores at once, 3.5 GB, do not fit: the limit is one.
    """
    rng = np.random.default_rng(0)
    for name, rows in (("left", 24_000), ("right", 36_000)):
        vectors = unit(rng.normal(size=(rows, 16)))
        if collapsed:
            vectors[::40] = vectors[0]
        vectors.tofile(tmp_path / name)
    command = [sys.executable, "-c", MEMORY, f"{tmp_path}/", str(threads)]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 0.5e9


def test_the_bound_for_a_million_by_a_million() -> None:
    """The figure in the docstring."""
    each = search.memory(10**6, 10**6, 1024, 4, threads=2) - search.memory(10**6, 10**6, 1024, 4)
    assert each < 0.2e9 and search.memory(10**6, 10**6, 1024, 4, threads=0) < 0.5e9


def test_threads_do_not_show() -> None:
    """Any number of threads gives the same, also where the queries are too few to be shared; settings come back."""
    rng = np.random.default_rng(0)
    left, right = (unit(1 + rng.normal(size=(n, 24))) for n in (1300, 9000))
    expected = top_k_both(left, right, 5)
    before = torch.get_num_threads()
    try:
        for threads in (2, 5, 7):
            torch.set_num_threads(threads)
            for one, other in zip(top_k_both(left, right, 5), expected, strict=True):
                assert (one[1] == other[1]).all() and np.abs(one[0] - other[0]).max() < 1e-6
            assert torch.get_num_threads() == threads
            broken = right.copy()
            broken[0, 0] = np.inf
            with pytest.raises(InputError):
                top_k(left, broken, 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
def test_a_gpu_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the program has allowed TF32, which alone would be wrong."""
    rng = np.random.default_rng(0)
    left, right = (unit(2 + rng.normal(size=(n, 128))) for n in (9000, 20000))
    expected = top_k_both(left, right, 4)
    monkeypatch.setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32")
    on_gpu = [torch.from_numpy(x).cuda() for x in (left, right)]
    for found in (top_k_both(left, right, 4, device="cuda"), top_k_both(*on_gpu, 4)):
        for one, other in zip(found, expected, strict=True):
            assert (one[1] == other[1]).all()
            np.testing.assert_allclose(one[0], other[0], atol=1e-6)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
