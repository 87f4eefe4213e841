"""Intervals of scores and of differences between runs, for another seed *and* other items of the same kind.

    scores = of_items([first, second, ...], "accuracy")    # a target's outcomes by language, of each run
    estimate(scores, a=[0, 1, 2], b=[3, 4, 5])             # runs 3 to 5 less runs 0 to 2, seed by seed

All seeds are scored on the same items, so their spread alone (Student's t over seeds) answers for another seed on this
test set only: at a nominal 95 % it covers another seed and other items in 44 to 93 % of the cases (simulated). A score
is therefore a two-way layout without replication, y[seed, item] = mean + seed + item + residual, and the variance of
its mean has the estimate

    v = Vs + Vi - Ve,   Vs = var(seed means) / S,   Vi = var(item means) / n,   Ve = residual variance / (S n)

with Satterthwaite's degrees of freedom v^2 / (Vs^2 / (S - 1) + Vi^2 / (n - 1) + Ve^2 / ((S - 1) (n - 1))), since each
of Vs and Vi contains the residual once (Searle, Casella and McCulloch 1992, section 4.3). Vi and Ve follow from the
covariance of the runs' scores that other items would cause, which is all that is kept of the items:

- Means: exactly. Items of several languages with one id are one cluster: each contributes the sum of its deviations.
- Ratios of sums over items (F1 of entities, chunks and pairs): the covariance over resampled items, by matrix products,
  the half of the multi-bootstrap (Sellam et al. 2022, 2106.16163) that concerns items, with the same resamples for all
  runs. Its other half, resampled seeds, is not used: of S seeds it finds (S - 1) / S of their variance and knows no t.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control, t, ttest_1samp, ttest_ind

from eval.metrics.items import Outcomes

LEVEL = 0.95
POWER = 1.96 + 0.84  # a difference of so many standard errors is found at 5 % in 80 % of the cases
RESAMPLES = 1000  # the standard deviation is then off by 2 %
_BLOCK = 4_000_000  # weights held at once
Verdict = Literal["better", "worse", "equivalent", "indistinguishable"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """values: float64 [R], in percent; covariance: float64 [R, R], what other items would cause; items: clusters."""

    values: np.ndarray
    covariance: np.ndarray
    items: int


@dataclass(frozen=True)
class Estimate:
    """A score, or the difference of two, in percentage points.

    interval: 95 %, for another seed and other items (crossed); with one seed for other items alone. student: 95 % by
    Student's t over seeds, for another seed on these items; None with one seed. seeds: the smaller number of both
    sides. p: two-sided, of no difference. visible: the smallest difference that is found at 5 % with 80 % power,
    (1.96 + 0.84) sqrt(v). of_seeds: the part of v that more seeds make smaller, Vs or, where it is larger, Ve.
    """

    difference: float
    interval: Interval
    student: Interval | None
    seeds: int
    p: float
    visible: float
    of_seeds: float = 0.0

    def visible_with(self, seeds: int) -> float:
        """`visible` with another number of seeds and the same items: Vs S / seeds + Vi - Ve."""
        v = (self.visible / POWER) ** 2 + self.of_seeds * (self.seeds / seeds - 1)
        return POWER * math.sqrt(max(0.0, v))

    def verdict(self, margin: float = 0.5) -> Verdict:
        """Equivalent: the interval lies within ± margin, also where it leaves out 0. Better, worse: p is below 5 %."""
        if max(map(abs, self.interval)) <= margin:
            return "equivalent"
        if self.p >= 1 - LEVEL:
            return "indistinguishable"
        return "better" if self.difference > 0 else "worse"


def of_items(
    runs: Sequence[Mapping[str, Outcomes]], metric: str, languages: Sequence[str] | None = None
) -> Scores | None:
    """A metric's unweighted mean over languages, by default all of the first run's.

    None where a run has not all of them, or not this metric, and for a mean over items that are not the same in all
    runs. Of ratios, an item that a run lacks has counts of 0: BUCC's are the sentences in its pairs.
    """
    languages = list(runs[0]) if languages is None else languages
    if not all(code in run and metric in run[code].metrics for code in languages for run in runs):
        return None
    ids = {name for run in runs for language in languages for name in run[language].ids}
    number = {name: i for i, name in enumerate(sorted(ids))}
    parts: list[Sums] = []
    ratio = False
    for language in languages:
        outcomes = [run[language] for run in runs]
        definition = outcomes[0].metrics[metric]
        ratio = bool(definition.denominator)
        if not ratio and any(list(one.ids) != list(outcomes[0].ids) for one in outcomes):
            return None
        rows = [np.array([number[name] for name in one.ids], dtype=np.int64) for one in outcomes]
        up, down = (
            np.stack(
                [np.bincount(at, one.sums(names), len(number)) for at, one in zip(rows, outcomes, strict=True)], axis=1
            )
            for names in (definition.numerator, definition.denominator)
        )
        parts.append((up, down))
    return _resampled(parts, len(number)) if ratio else _exact(parts)


Sums = tuple[np.ndarray, np.ndarray]  # numerators and denominators, float64 [clusters, R], of a language


def _exact(parts: Sequence[Sums]) -> Scores:
    """Of means; the denominators count items."""
    values, deviations = 0.0, 0.0
    for sums, count in parts:
        n = count[:, 0].sum()
        mean = sums.sum(axis=0) / n
        values = values + 100 * mean / len(parts)
        deviations = deviations + 100 * (sums - count * mean) / math.sqrt(n * max(n - 1, 1)) / len(parts)
    z = np.asarray(deviations)
    return Scores(np.asarray(values), z.T @ z, len(z))


def _resampled(parts: Sequence[Sums], clusters: int) -> Scores:
    """Of ratios; clusters are drawn with replacement, as many as there are, by a generator of fixed seed."""
    rng = np.random.default_rng(0)
    block = max(1, _BLOCK // clusters)
    found = []
    for first in range(0, RESAMPLES, block):
        count = min(block, RESAMPLES - first)
        picked = rng.integers(clusters, size=(count, clusters)) + clusters * np.arange(count)[:, None]
        weights = np.bincount(picked.ravel(), minlength=count * clusters).reshape(count, clusters).astype(np.float64)
        found.append(np.mean([_ratio(weights @ up, weights @ down) for up, down in parts], axis=0))
    values = np.mean([_ratio(up.sum(axis=0), down.sum(axis=0)) for up, down in parts], axis=0)
    return Scores(values, np.atleast_2d(np.cov(np.concatenate(found), rowvar=False)), clusters)


def _ratio(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    return 100 * np.divide(up, down, out=np.zeros_like(up), where=down > 0)


def estimate(scores: Scores, a: Sequence[int], b: Sequence[int] = (), *, paired: bool = True) -> Estimate:
    """The mean of the runs `b` less that of the runs `a`; without `b` the mean of `a`.

    `paired`: run i of `a` and run i of `b` have the same seed. Otherwise each side has a seed variance of its own.
    """
    rows = np.eye(len(scores.values))
    if not b:
        return contrast(scores, [rows[list(a)]])
    if paired:
        return contrast(scores, [rows[list(b)] - rows[list(a)]])
    return contrast(scores, [rows[list(b)], -rows[list(a)]])


def contrast(scores: Scores, sides: Sequence[np.ndarray]) -> Estimate:
    """The sum over sides of the mean over seeds. A side: the weights of the runs, float64 [S, R], a row for each seed.

    Where Vs is smaller than Ve, the seeds add nothing of their own: v is at least Vi, and so never negative.
    """
    whole = np.sum([side.mean(axis=0) for side in sides], axis=0)  # weights of the runs
    difference = float(whole @ scores.values)
    between_items = max(0.0, float(whole @ scores.covariance @ whole))  # of equal runs it may round to less
    seeds, n = min(map(len, sides)), max(scores.items, 2)
    student: Interval | None = None
    v, terms = between_items, [(between_items, n - 1)]
    between_seeds = residual = 0.0
    if seeds > 1:
        for side in sides:
            size, each = len(side), side @ scores.values
            within = side @ scores.covariance @ side.T
            vs = each.var(ddof=1) / size
            ve = max(0.0, (np.trace(within) / size - within.mean()) / (size - 1))
            terms += [(vs, size - 1), (ve, (size - 1) * (n - 1))]
            between_seeds, residual = between_seeds + vs, residual + ve
        v = max(between_seeds + between_items - residual, between_items)
        student = _student([side @ scores.values for side in sides])
    spread = math.sqrt(v)
    freedom = v**2 / below if (below := sum(term**2 / df for term, df in terms)) else 1.0
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * spread
    p = 2 * float(t.sf(abs(difference) / spread, freedom)) if spread else float(abs(difference) < 1e-9)
    interval = (difference - half, difference + half)
    return Estimate(difference, interval, student, seeds, p, POWER * spread, max(between_seeds, residual))


def _student(sides: Sequence[np.ndarray]) -> Interval:
    """Of the mean over seeds; of two sides with seeds of their own by Welch's t."""
    if all(np.ptp(side) == 0 for side in sides):
        same = float(sum(side.mean() for side in sides))
        return same, same
    first = sides[0]
    test = ttest_1samp(first, 0.0) if len(sides) == 1 else ttest_ind(first, -sides[1], equal_var=False)
    found = test.confidence_interval(LEVEL)
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Drop:
    """clean, noisy: a score without and with noise; drop: 100 (1 - noisy / clean); interval: 95 %."""

    clean: float
    noisy: float
    drop: float
    interval: Interval


def relative_drop(
    pairs: Sequence[tuple[Mapping[str, Outcomes], Mapping[str, Outcomes]]], metric: str, languages: Sequence[str]
) -> Drop | None:
    """From the clean to the noisy outcomes, a pair for each seed; None without the same items or a clean score of 0.

    The interval is that of `contrast` for the ratio, linearised at the means (delta method).
    """
    scores = of_items([side for pair in pairs for side in pair], metric, languages)
    if scores is None or not (clean := float(scores.values[0::2].mean())):
        return None
    noisy = float(scores.values[1::2].mean())
    slope = 100 * np.array([noisy / clean**2, -1 / clean])
    low, high = contrast(scores, [np.kron(np.eye(len(pairs)), slope)]).interval
    drop, half = 100 * (1 - noisy / clean), (high - low) / 2
    return Drop(clean, noisy, drop, (drop - half, drop + half))


def uneven(drops: Mapping[str, float], drop: float) -> tuple[str, float]:
    """(the language that falls most, percent of the languages that fall more than twice `drop`)."""
    far = sum(one > 2 * max(drop, 0.0) for one in drops.values())
    return max(drops, key=lambda code: drops[code]), 100 * far / len(drops)


def holm(estimates: Sequence[Estimate], m: int) -> list[Estimate]:
    """With p adjusted for m comparisons (Holm 1979): the k-th smallest times m - k + 1, never falling, at most 1.

    m counts also those that are not known yet, whose p may be any.
    """
    p = np.array([one.p for one in estimates], dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate((m - np.arange(len(p))) * p[order]))
    return [replace(one, p=float(q)) for one, q in zip(estimates, adjusted[np.argsort(order)], strict=True)]


def discoveries(p: np.ndarray) -> np.ndarray:
    """bool, of the same shape: which of many cells differ, at a false discovery rate of 5 % (Benjamini-Hochberg).

    NaN is a cell without a comparison.
    """
    found, there = np.zeros(p.shape, dtype=bool), ~np.isnan(p)
    if there.any():
        found[there] = false_discovery_control(p[there]) < 1 - LEVEL
    return found
