"""BUCC mining against the whole matrix of cosines, its threshold against every other one; ranks against definitions;

exact neighbours: scikit-learn's, by whole-number arithmetic where float32 cannot decide, in bounded memory; alignment.
"""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from common.errors import InputError
from eval.alignment.measures import SCORES, align, wrong_partners
from eval.retrieval import mining, neighbors, ranking
from eval.retrieval.mining import Mined
from eval.retrieval.neighbors import top_k, top_k_both
from eval.rows import Corpus
from tests.support.launch import run


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


def test_ranks() -> None:
    scores = np.random.default_rng(0).integers(0, 8, 200).astype(np.float32)  # many equal ones
    order = sorted(range(200), key=lambda place: (-scores[place], place))
    assert ranking.ranks(scores, range(200)) == [order.index(place) + 1 for place in range(200)]


# Exact neighbours


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
        expected = by_whole_numbers(x, y, k)
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
    near = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(right.astype(np.float64))
    assert (top_k(*sides, 6)[1] == near.kneighbors(left.astype(np.float64), return_distance=False)).all()
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
    top_k_both(left, right, k)
try:
    left @ right.T
except MemoryError:
    print("bounded")
"""


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    """10,000 x 20,000 within half of what all scores at once would take: the kernel refuses what goes beyond."""
    assert run(sys.executable, "-c", MEMORY).stdout == "bounded\n"


@pytest.mark.gpu
def test_a_gpu_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the program has allowed TF32, which alone would be wrong."""
    rng = np.random.default_rng(0)
    left, right = (neighbors.normalise(2 + rng.normal(size=(n, 128))) for n in (9000, 20000))
    expected = top_k_both(left, right, 4)
    monkeypatch.setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32")
    on_gpu = (side.cuda() for side in (left, right))
    for one, other in zip(top_k_both(*on_gpu, 4), expected, strict=True):
        assert (one[1] == other[1]).all()
        np.testing.assert_allclose(one[0], other[0], atol=1e-6)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


# Alignment scores by their definitions in float64, over true and over wrong pairs


def languages(n: int, width: int, noise: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Two languages with shared meanings, noise, and an offset each: retrieval works, but is far from perfect."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(n, width))
    sides = [meaning + noise * rng.normal(size=(n, width)) + 0.4 * rng.normal(size=width) for _ in range(2)]
    return sides[0].astype(np.float32), sides[1].astype(np.float32)


def scores_of(x: np.ndarray, y: np.ndarray) -> dict[str, float | None]:
    return {name.partition("@")[0]: value["score"] for name, value in align(x, y).items()}


def by_definition(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    n, true = len(x), np.arange(len(x))
    x, y = x.astype(np.float64), y.astype(np.float64)
    cos, centred = cosine_similarity(x, y), cosine_similarity(x - x.mean(axis=0), y - y.mean(axis=0))
    near = [np.sort(side, axis=1)[:, -4:].mean(axis=1) for side in (cos, cos.T)]
    pairs = np.diag(cos)
    others = np.where(np.eye(n, dtype=bool), -np.inf, cos)
    distances = []
    for own, other in ((cosine_similarity(x), cos), (cosine_similarity(y), cos.T)):
        pool = np.concatenate([own, other], axis=1)
        ranks = [(pool > np.diag(side)[:, None] + 1e-10).sum(axis=1) for side in (other, own)]
        distances.append(ranks[0] - ranks[1])
    return {
        "top1_en->xx": 100 * np.mean(cos.argmax(axis=1) == true),
        "top1_xx->en": 100 * np.mean(cos.argmax(axis=0) == true),
        "centred_en->xx": 100 * np.mean(centred.argmax(axis=1) == true),
        "centred_xx->en": 100 * np.mean(centred.argmax(axis=0) == true),
        "margin": np.mean(pairs / ((near[0] + near[1]) / 2)),
        "cka": cka_by_matrices(x, y),
        "anc": np.mean([np.corrcoef(x[:, j], y[:, j])[0, 1] for j in range(x.shape[1])]),
        "mexa": 100 * np.mean(pairs > np.maximum(others.max(axis=1), others.max(axis=0))),
        "rank_distance": np.mean(distances),
    }


def cka_by_matrices(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. 2012, equation 5: Gram matrices without their diagonals."""
    n = len(x)

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        k, el = (side @ side.T for side in (a, b))
        np.fill_diagonal(k, 0)
        np.fill_diagonal(el, 0)
        first = np.sum(k * el) + k.sum() * el.sum() / ((n - 1) * (n - 2))
        return (first - 2 / (n - 2) * (k.sum(axis=0) @ el.sum(axis=1))) / (n * (n - 3))

    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


@pytest.mark.parametrize(("n", "width", "noise"), [(60, 8, 0.8), (30, 200, 3.0), (1500, 16, 0.8)])
def test_scores_are_their_definitions(n: int, width: int, noise: float) -> None:
    """And the control beside each is the score of the same sentences in wrong pairs."""
    x, y = languages(n, width, noise)
    values = align(x, y, seed=3)
    assert set(values) == {f"{name}@{n}" for name in SCORES}
    right, wrong = by_definition(x, y), by_definition(x, y[wrong_partners(n, 3)])
    for name in SCORES:
        value = values[f"{name}@{n}"]
        assert value["score"] == pytest.approx(right[name], abs=1e-5), name
        assert value["random"] == pytest.approx(wrong[name], abs=1e-5), name
    assert 1 < right["rank_distance"] < n and 0 < right["top1_en->xx"] < 100 and 0 < right["mexa"] < 100
    assert wrong["top1_en->xx"] <= 5 and abs(wrong["cka"]) < 0.15


@given(st.integers(2, 300), st.integers(0, 2**31))
def test_wrong_partners_are_wrong_and_each_used_once(n: int, seed: int) -> None:
    partner = wrong_partners(n, seed)
    assert sorted(partner.tolist()) == list(range(n)) and (partner != np.arange(n)).all()
    assert (partner == wrong_partners(n, seed)).all()


def test_collapsed_and_too_few() -> None:
    x, _ = languages(50, 20)
    same = scores_of(np.ones((50, 20), np.float32), np.ones((50, 20), np.float32))
    assert same["top1_en->xx"] == 2 and same["mexa"] == 0 and same["cka"] is None
    assert same["rank_distance"] == 50 and same["anc"] == 0
    few = scores_of(x[:3], x[:3])
    assert few["cka"] is None and few["top1_en->xx"] == 100
    assert align(x[:1], x[:1])["mexa@1"]["random"] is None


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    x, y = languages(1500, 256, noise=2.0)
    expected = align(x, y)
    for name, value in align(x, y, device=torch.device("cuda")).items():
        assert value["score"] == pytest.approx(expected[name]["score"], abs=1e-9), name
