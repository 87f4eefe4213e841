"""The regression head: `problem_type="regression"` of transformers, scored by correlation."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from common.columns import Columns
from tasks.classify import model as classify
from tasks.head import HeadRows, Scored, mean_loss
from tasks.intervals import LEVEL, Interval


class Head(classify.Head):
    """[n, H] first tokens -> [n, 1]: the classification head with one output, trained by squared error."""

    export_config: ClassVar[dict[str, Any]] = {"num_labels": 1, "problem_type": "regression"}
    outputs = 1
    outcome = ("prediction", "label")

    def unit_losses(self, scores: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor]:
        """Squared error of each pair; none counts as right."""
        losses = (scores[:, 0] - rows.labels).square()
        return losses, losses.new_zeros(len(losses))

    def decode(self, scored: Scored, example: Any, labels: Sequence[str] | None) -> float:
        """A number on the scale of the labels."""
        return float(scored[0][1][0, 0])

    def example_outcome(self, scored: Scored, gold: dict[str, Any] | None, metric: str) -> tuple[float, float]:
        ((row, scores),) = scored
        return float(scores[0, 0]), row["label"]

    def dev_metrics(self, totals: np.ndarray, outcomes: np.ndarray, columns: Columns) -> dict[str, float]:
        """Correlations in [-1, 1], and the mean squared error."""
        predictions, labels = outcomes.T
        correlations = {"pearson": pearsonr, "spearman": spearmanr}
        found = {name: correlation(function, predictions, labels) for name, function in correlations.items()}
        return {**found, "loss": mean_loss(totals)}

    def dev_interval(self, score: float, units: np.ndarray, outcomes: np.ndarray, columns: Columns) -> Interval:
        """Fisher's z (Fisher 1921); all of [-1, 1] where the correlation is not defined."""
        if not score:
            return -1.0, 1.0
        low, high = pearsonr(*outcomes.T).confidence_interval(LEVEL)
        return float(low), float(high)


def correlation(function: Callable[..., Any], predictions: np.ndarray, labels: np.ndarray) -> float:
    """`statistic` of a correlation of scipy.stats; 0 where either side is constant, for which it is not defined."""
    if len(labels) < 2 or np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    return float(function(predictions, labels).statistic)
