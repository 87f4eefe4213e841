"""Intervals and verdicts against hand-worked layouts, scipy's tests, a plain bootstrap, and by simulated coverage."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.stats

from eval.metrics.items import CHUNKS, Outcomes, counts, means
from eval.report import statistics
from eval.report.statistics import Estimate, Scores, estimate, of_items


def layout(y: np.ndarray, ids: list[str] | None = None) -> list[dict[str, Outcomes]]:
    """Runs [S] of one language with these outcomes [S, items], in [0, 1]."""
    names = ids or [str(i) for i in range(y.shape[1])]
    return [{"de": means({"accuracy": row}).named(names)} for row in y]


def scores(runs: list[dict[str, Outcomes]], metric: str = "accuracy") -> Scores:
    found = of_items(runs, metric)
    assert found is not None
    return found


def test_two_seeds_and_three_items_by_hand() -> None:
    """Percent: seed means 40 and 60, item means 20, 50, 80; residuals -10, 10, 0 and their opposites.

    Vs = 200 / 2; Vi = 900 / 3; residual variance 400 / 2, Ve = 200 / 6.
    """
    found = estimate(scores(layout(np.array([[0.0, 0.5, 0.7], [0.4, 0.5, 0.9]]))), [0, 1])
    vs, vi, ve = 100.0, 300.0, 200 / 6
    v = vs + vi - ve
    df = v**2 / (vs**2 / 1 + vi**2 / 2 + ve**2 / 2)
    half = scipy.stats.t.ppf(0.975, df) * v**0.5
    assert found.difference == pytest.approx(50) and found.seeds == 2
    assert found.interval == pytest.approx((50 - half, 50 + half))
    assert found.visible == pytest.approx(2.8 * v**0.5) == found.visible_with(2)
    assert found.visible_with(6) == pytest.approx(2.8 * (vs / 3 + vi - ve) ** 0.5)
    assert found.student == pytest.approx((50 - 12.7062047 * 10, 50 + 12.7062047 * 10))
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(50 / v**0.5, df))


def test_without_one_of_the_variances_it_is_students_t() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 5, 1)) * np.ones((2, 5, 40))  # items are all alike
    seeds = scipy.stats.ttest_rel(b[:, 0] * 100, a[:, 0] * 100)
    both = scores(layout(np.concatenate([a, b])))
    found = estimate(both, range(5), range(5, 10))
    assert found.p == pytest.approx(seeds.pvalue)
    assert found.interval == pytest.approx(tuple(seeds.confidence_interval())) == found.student
    # Other seeds on each side: Welch's t over them.
    found = estimate(both, range(5), range(5, 8), paired=False)
    welch = scipy.stats.ttest_ind(b[:3, 0] * 100, a[:, 0] * 100, equal_var=False)
    assert found.interval == pytest.approx(tuple(welch.confidence_interval())) == found.student
    # One seed: items alone, pair by pair.
    a, b = rng.random((2, 1, 40))
    items = scipy.stats.ttest_rel(b[0] * 100, a[0] * 100)
    found = estimate(scores(layout(np.concatenate([a, b]))), [0], [1])
    assert found.p == pytest.approx(items.pvalue) and found.student is None and found.seeds == 1
    assert found.interval == pytest.approx(tuple(items.confidence_interval()))
    same = estimate(scores(layout(np.concatenate([a, a]))), [0], [1])
    assert same.interval == (0, 0) and same.p == 1 and same.verdict() == "equivalent"


def test_translations_are_one_cluster() -> None:
    """The mean over languages of each item, where all languages have it; else each language's items by themselves."""
    rng = np.random.default_rng(1)
    y = rng.random((3, 4, 50)) + rng.normal(size=50)  # languages, seeds, items
    ids = [[f"{i}" for i in range(50)]] * 3
    languages = [{code: means({"accuracy": y[n, s]}).named(ids[n]) for n, code in enumerate("abc")} for s in range(4)]
    together, flat = estimate(scores(languages), range(4)), estimate(scores(layout(y.mean(axis=0))), range(4))
    assert together.interval == pytest.approx(flat.interval) and together.p == pytest.approx(flat.p)
    apart = [{code: one.named([f"{code}{i}" for i in range(50)]) for code, one in run.items()} for run in languages]
    alone = [scores([{"de": run[code]} for run in apart]) for code in "abc"]
    found = scores(apart)
    np.testing.assert_allclose(found.covariance, np.sum([one.covariance for one in alone], axis=0) / 9)
    assert found.items == 150 and together.visible > 1.5 * estimate(found, range(4)).visible


def chunked(rng: np.random.Generator, items: int, quality: float) -> Outcomes:
    gold = rng.integers(0, 4, items)
    correct = rng.binomial(gold, quality)
    columns = {"correct": correct, "predicted": correct + rng.integers(0, 3, items), "gold": gold}
    return counts(CHUNKS, columns).named([str(i) for i in range(items)])


def test_f1_by_a_plain_bootstrap() -> None:
    """Of sentences, each language's F1 from its drawn sentences, one after the other; the same in every call."""
    rng = np.random.default_rng(2)
    runs = [{code: chunked(rng, 60, quality) for code in ("de", "sw")} for quality in (0.5, 0.7, 0.6)]
    found = scores(runs, "f1")
    assert (found.covariance == scores(runs, "f1").covariance).all()

    def f1(one: Outcomes, drawn: Any) -> float:
        right, said, gold = (one.columns[name][drawn].sum() for name in ("correct", "predicted", "gold"))
        return 200 * right / (said + gold)

    draws = [rng.integers(0, 60, 60) for _ in range(2000)]
    each = np.array([[np.mean([f1(one, drawn) for one in run.values()]) for run in runs] for drawn in draws])
    expected = np.cov(each, rowvar=False)
    np.testing.assert_allclose(found.covariance, expected, atol=0.12 * expected.max())
    np.testing.assert_allclose(found.values, [np.mean([one.scores()["f1"] for one in run.values()]) for run in runs])


def test_pairs_that_only_one_run_mined() -> None:
    """BUCC: their sentences count for nothing in the other run. Means need the same items."""

    def mined(ids: list[str], correct: list[int]) -> dict[str, Outcomes]:
        columns = {"correct": correct, "predicted": [1] * len(ids), "gold": [1] * len(ids)}
        return {"de": counts(CHUNKS, columns).named(ids)}

    found = scores([mined(["a", "b"], [1, 0]), mined(["b", "c", "d"], [1, 1, 0])], "f1")
    assert found.values == pytest.approx([50, 200 / 3]) and found.items == 4
    assert of_items([*layout(np.eye(2), ["a", "b"]), *layout(np.eye(2), ["a", "c"])], "accuracy") is None


def test_holm_and_verdicts() -> None:
    def one(p: float, difference: float = 1.0, half: float = 0.9) -> Estimate:
        return Estimate(difference, (difference - half, difference + half), None, 3, p, 2.0)

    adjusted = [found.p for found in statistics.holm([one(p) for p in (0.02, 0.01, 0.03, 0.9)], 6)]
    assert adjusted == pytest.approx([0.1, 0.06, 0.12, 1.0])
    assert one(0.01).verdict() == "better" and one(0.01, -1).verdict() == "worse"
    assert one(0.06).verdict() == "indistinguishable"
    assert one(0.01, 0.2, 0.1).verdict(0.5) == "equivalent" and one(0.01, 0.2, 0.1).verdict(0.25) == "better"
    cells = np.array([[0.001, np.nan], [0.02, 0.9]])  # 0.02 <= 2/3 of 5 %, 0.9 > 5 %
    assert statistics.discoveries(cells).tolist() == [[True, False], [True, False]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "shares"), itertools.product((3, 5, 10), ((1, 0.1, 0.1), (0.1, 1, 0.1), (0.1, 0.1, 1)))
)
def test_coverage_of_another_seed_and_other_items(seeds: int, shares: tuple[float, float, float]) -> None:
    """Nominal 95 %; shares: of seeds, items and residual in the variance of the mean. Student's t covers less."""
    rng, items, tries = np.random.default_rng(seeds), 200, 2000
    size = [(share * n) ** 0.5 / 100 for share, n in zip(shares, (seeds, items, seeds * items), strict=True)]
    covered = student = 0
    for _ in range(tries):
        parts = [rng.normal(size=shape) for shape in ((seeds, 1), (1, items), (seeds, items))]
        found = estimate(scores(layout(sum(a * b for a, b in zip(size, parts, strict=True)))), range(seeds))
        covered += found.interval[0] <= 0 <= found.interval[1]
        assert found.student is not None
        student += found.student[0] <= 0 <= found.student[1]
    assert 0.92 <= covered / tries <= 0.98
    if shares[1] == 1:
        assert student / tries < 0.9
