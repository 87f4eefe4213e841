"""Alignment scores against their definitions, written out here in float64 loops, and what they are blind to."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from common.errors import InputError
from eval.alignment import measures as module
from eval.alignment.measures import SCORES, align, anc, debiased_cka, wrong_partners


def languages(n: int, width: int, seed: int = 0, noise: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Two languages with shared meanings, noise, and an offset each: retrieval works, but is far from perfect."""
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(n, width))
    sides = [meaning + noise * rng.normal(size=(n, width)) + 0.4 * rng.normal(size=width) for _ in range(2)]
    return sides[0].astype(np.float32), sides[1].astype(np.float32)


def scores_of(x: np.ndarray, y: np.ndarray) -> dict[str, float | None]:
    return {name.partition("@")[0]: value.score for name, value in align(x, y).items()}


def by_loops(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The definitions, one pair at a time."""
    n = len(x)
    cos = cosine_similarity(x.astype(np.float64), y.astype(np.float64))
    means = [side - side.mean(axis=0) for side in (x, y)]
    own = [cosine_similarity(side.astype(np.float64)) for side in (x, y)]
    there = NearestNeighbors(n_neighbors=4, metric="cosine").fit(y).kneighbors(x)
    back = NearestNeighbors(n_neighbors=4, metric="cosine").fit(x).kneighbors(y)
    margins, mutual, distances = [], 0, []
    for i in range(n):
        around = (1 - there[0][i]).sum() / 8 + (1 - back[0][i]).sum() / 8
        margins.append(cos[i, i] / around)
        others = [cos[i, j] for j in range(n) if j != i] + [cos[j, i] for j in range(n) if j != i]
        mutual += cos[i, i] > max(others)
        for matrix, mine in ((cos[i], own[0][i]), (cos[:, i], own[1][i])):
            pool = [(-mine[j], "own", j) for j in range(n)] + [(-matrix[j], "other", j) for j in range(n)]
            order = [(side, j) for _, side, j in sorted(pool)]
            distances.append(order.index(("other", i)) - order.index(("own", i)))
    return {
        "top1_en->xx": 100 * np.mean(there[1][:, 0] == np.arange(n)),
        "top1_xx->en": 100 * np.mean(back[1][:, 0] == np.arange(n)),
        "centred_en->xx": 100 * np.mean(cosine_similarity(*means).argmax(axis=1) == np.arange(n)),
        "centred_xx->en": 100 * np.mean(cosine_similarity(*means).argmax(axis=0) == np.arange(n)),
        "margin": float(np.mean(margins)),
        "cka": cka_by_matrices(x, y),
        "anc": float(np.mean([np.corrcoef(x[:, j], y[:, j])[0, 1] for j in range(x.shape[1])])),
        "mexa": 100 * mutual / n,
        "rank_distance": float(np.mean(distances)),
    }


def cka_by_matrices(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. 2012, equation 5: Gram matrices without their diagonals."""
    n = len(x)

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        k, el = (side.astype(np.float64) @ side.T.astype(np.float64) for side in (a, b))
        np.fill_diagonal(k, 0)
        np.fill_diagonal(el, 0)
        ones = np.ones(n)
        first = np.trace(k @ el) + (ones @ k @ ones) * (ones @ el @ ones) / ((n - 1) * (n - 2))
        return (first - 2 / (n - 2) * (ones @ k @ el @ ones)) / (n * (n - 3))

    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


@pytest.mark.parametrize(("n", "width", "noise"), [(60, 8, 0.8), (120, 40, 1.5), (30, 200, 3.0)])
def test_scores_are_their_definitions(n: int, width: int, noise: float) -> None:
    x, y = languages(n, width, noise=noise)
    expected = by_loops(x, y)
    found = scores_of(x, y)
    assert set(found) == set(expected) == set(SCORES)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5), name
    assert 1 < expected["rank_distance"] < n
    assert {f"{name}@{n}" for name in SCORES} == set(align(x, y))
    assert 0 < expected["top1_en->xx"] < 100 and 0 < expected["mexa"] < 100


def test_the_control_is_the_score_of_wrong_pairs() -> None:
    """Every control equals the definition over the re-paired sentences; retrieval there is at most chance."""
    x, y = languages(80, 24, noise=0.3)
    values = align(x, y, seed=3)
    partner = wrong_partners(80, 3)
    expected = by_loops(x, y[partner])
    for name in SCORES:
        value = values[f"{name}@80"]
        assert value.random == pytest.approx(expected[name], abs=1e-5), name
        if name not in ("margin", "rank_distance"):
            assert value.score is not None and value.random is not None
            assert value.score > value.random + (20 if "top1" in name or "centred" in name else 0.2)
    assert values["top1_en->xx@80"].random <= 5 and abs(values["cka@80"].random or 1) < 0.1
    assert abs(values["anc@80"].random or 1) < 0.1
    assert values["rank_distance@80"].random > 60  # of 160: chance is 80


def test_the_control_of_mispaired_sentences_is_their_score() -> None:
    """Translations put where the control looks for them: now it is the control that finds them."""
    x, y = languages(80, 24)
    moved = np.empty_like(y)
    moved[wrong_partners(80, 3)] = y
    expected, found = align(x, y, seed=3), align(x, moved, seed=3)
    for name in expected:
        assert found[name].random == pytest.approx(expected[name].score, abs=1e-9), name
    assert found["mexa@80"].score == 0 and (found["top1_xx->en@80"].random or 0) > 20


@settings(deadline=None)
@given(st.integers(2, 300), st.integers(0, 2**31))
def test_wrong_partners_are_wrong_and_each_used_once(n: int, seed: int) -> None:
    partner = wrong_partners(n, seed)
    assert sorted(partner.tolist()) == list(range(n)) and (partner != np.arange(n)).all()
    assert (partner == wrong_partners(n, seed)).all()


def test_unrelated_vectors_score_at_chance() -> None:
    """Debiasing matters: the plain CKA of unrelated vectors is far above 0 where n < H."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(100, 300)).astype(np.float32) for _ in range(2))
    found = scores_of(x, y)
    assert abs(found["cka"] or 1) < 0.05 and abs(found["anc"] or 1) < 0.05
    assert found["top1_en->xx"] <= 5 and found["mexa"] <= 5 and found["rank_distance"] == pytest.approx(100, abs=15)
    centred = [side - side.mean(axis=0) for side in (x, y)]
    plain = np.linalg.norm(centred[0].T @ centred[1]) ** 2
    plain /= np.linalg.norm(centred[0].T @ centred[0]) * np.linalg.norm(centred[1].T @ centred[1])
    assert plain > 0.5


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.1, 10), st.integers(5, 40), st.integers(2, 30))
def test_cka_is_blind_to_rotation_scale_and_offset(seed: int, scale: float, n: int, width: int) -> None:
    x, y = languages(n, width, seed)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(width, width)))
    pairing = (np.arange(n),)
    moved = scale * y.astype(np.float64) @ rotation + rng.normal(size=width)
    assert debiased_cka(x, moved, pairing)[0] == pytest.approx(debiased_cka(x, y, pairing)[0], abs=1e-6)
    assert debiased_cka(x, x, pairing)[0] == pytest.approx(1)


def test_what_the_others_are_blind_to() -> None:
    """ANC: each neuron's scale and offset, not rotation, and it has a sign. Cosines: a rotation of both languages."""
    x, y = languages(200, 16)
    rng = np.random.default_rng(1)
    stretched = y * rng.uniform(0.5, 2, size=16) + rng.normal(size=16)
    assert anc(x, stretched) == pytest.approx(anc(x, y), abs=1e-6)
    assert anc(x, -y) == pytest.approx(-anc(x, y), abs=1e-6)
    rotation, _ = np.linalg.qr(rng.normal(size=(16, 16)))
    assert anc(x, y @ rotation) < anc(x, y) - 0.2
    assert debiased_cka(x, y @ rotation, (np.arange(200),))[0] == pytest.approx(scores_of(x, y)["cka"], abs=1e-6)
    both = scores_of(x @ rotation.astype(np.float32), y @ rotation.astype(np.float32))
    for name in SCORES:
        if name != "anc":
            assert both[name] == pytest.approx(scores_of(x, y)[name], abs=1e-4), name


def test_perfect_and_collapsed_and_too_few() -> None:
    x, _ = languages(50, 20)
    perfect = scores_of(x, 2 * x)
    for name in ("top1_en->xx", "top1_xx->en", "centred_en->xx", "centred_xx->en", "mexa"):
        assert perfect[name] == 100
    assert perfect["cka"] == pytest.approx(1) and perfect["anc"] == pytest.approx(1) and perfect["rank_distance"] == 1
    apart = scores_of(x, 2 * x + 50)  # each language in its own corner: geometry is kept, neighbours are lost
    assert apart["cka"] == pytest.approx(1, abs=1e-4) and apart["centred_en->xx"] == 100
    assert apart["rank_distance"] >= 50
    same = align(np.ones((50, 20), np.float32), np.ones((50, 20), np.float32))
    assert same["top1_en->xx@50"].score == 2 and same["mexa@50"].score == 0 and same["cka@50"].score is None
    assert same["rank_distance@50"].score == 50 and same["anc@50"].score == 0
    few = align(x[:3], x[:3])
    assert few["cka@3"].score is None and few["top1_en->xx@3"].score == 100
    one = align(x[:1], x[:1])
    assert one["mexa@1"].score == 100 and one["mexa@1"].random is None


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = languages(90, 12)
    expected = align(x, y)
    monkeypatch.setattr(module, "_BLOCK", 2000)
    for name, value in align(x, y).items():
        assert value.score == pytest.approx(expected[name].score) and value.random == pytest.approx(
            expected[name].random
        )


def test_wrong_vectors_are_refused() -> None:
    x, y = languages(10, 4)
    with pytest.raises(ValueError, match="same"):
        align(x, y[:9])
    x[3] = np.nan
    with pytest.raises(InputError, match="row 3"):
        align(x, y)


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    x, y = languages(1500, 256, noise=2.0)
    expected = align(x, y)
    for name, value in align(x, y, device=torch.device("cuda")).items():
        assert value.score == pytest.approx(expected[name].score, abs=1e-9), name
