"""95 % intervals of a dev score over its examples: how far it may be from that of other examples of the same kind.

They say nothing of another seed.
"""

import numpy as np
from scipy import stats

LEVEL = 0.95
Interval = tuple[float, float]


def accuracy(right: np.ndarray, units: np.ndarray) -> Interval:
    """Of the share of units that are right; right, units: float64 [examples].

    Wilson's (1927) where each example is one unit. Else units of an example (words of a sentence) go together:
    Student's t with the linearised variance of a ratio of sums (Cochran 1977, section 2.11).
    """
    if (units == 1).all():
        return _wilson(right.mean(), len(right))
    share = right.sum() / units.sum()
    return mean(share + (right - share * units) / units.mean())


def mean(values: np.ndarray) -> Interval:
    """Student's t of the mean of one score in [0, 1] an example, float64 [examples]; Wilson's where all are equal."""
    if np.ptp(values) == 0:
        return _wilson(values[0], len(values))
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    return float(max(0.0, low)), float(min(1.0, high))


def _wilson(share: float, examples: int) -> Interval:
    found = stats.binomtest(round(share * examples), examples).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)
