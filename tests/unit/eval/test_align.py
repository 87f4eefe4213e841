"""Alignment scores against their definitions in float64, over true and over wrong pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from eval.alignment.measures import SCORES, align, wrong_partners


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


def test_apart_and_collapsed_and_too_few() -> None:
    x, _ = languages(50, 20)
    apart = scores_of(x, 2 * x + 50)  # each language in its own corner: geometry is kept, neighbours are lost
    assert apart["cka"] == pytest.approx(1, abs=1e-4) and apart["centred_en->xx"] == 100
    assert apart["rank_distance"] >= 50
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
