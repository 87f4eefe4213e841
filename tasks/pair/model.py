"""The dual encoder of contrastive pairs."""

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig

from common.columns import Columns, plain
from tasks import head, intervals
from tasks.head import Bodies, Body, HeadRows, Mean, Scored
from tasks.intervals import Interval
from tasks.pair.gradient_caching import average_precision, loss, unit_losses


class Head(head.Head):
    """[m, H] first tokens -> [m, H] of length 1: encoder's pooler, where it has one, normalised.

    `logit_scale`: 100 as in XTREME-R.
    """

    outcome = ("vectors",)

    def __init__(self, body: Body, config: PretrainedConfig, outputs: int) -> None:
        super().__init__(body, config, outputs)
        self.logit_scale = nn.Parameter(torch.tensor([100.0]))

    @classmethod
    def of(cls, config: PretrainedConfig, labels: int | None, bodies: Bodies) -> Self:
        return cls(bodies.vector, config, config.hidden_size)

    def forward(self, hidden: Tensor, encoder: Any, mean: Mean | None = None) -> Tensor:
        return F.normalize(super().forward(hidden, encoder, mean).float(), dim=1)

    def unit_losses(self, scores: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor]:
        """Of the pairs of this batch alone; in a training step those of the whole step count (`loss`)."""
        return unit_losses(scores[0::2], scores[1::2], self.logit_scale[0].float(), rows.group)

    def loss(self, scores: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor, Tensor]:
        return loss(scores, self.logit_scale[0], rows)

    def outcome_width(self, hidden_size: int) -> int:
        return 2 * hidden_size

    def example_outcome(self, scored: Scored, gold: dict[str, Any] | None, metric: str) -> np.ndarray:
        """The vectors of query and passage."""
        return scored[0][1].ravel()

    def dev_metrics(self, totals: np.ndarray, outcomes: np.ndarray, columns: Columns) -> dict[str, float]:
        """Every query against the passages of all dev pairs."""
        queries, passages, keys = _dev_pairs(outcomes, columns)
        losses, right = unit_losses(queries, passages, self.logit_scale.detach()[0].float().cpu(), keys)
        return {
            "map@20": float(average_precision(queries, passages, keys).mean()),
            "accuracy": float(right.mean()),
            "loss": float(losses.mean()),
        }

    def dev_interval(self, score: float, units: np.ndarray, outcomes: np.ndarray, columns: Columns) -> Interval:
        return intervals.mean(average_precision(*_dev_pairs(outcomes, columns)).double().numpy())


def _dev_pairs(outcomes: np.ndarray, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
    """(queries, passages) float32 [n, H] each, and the keys of the passages int64 [n]."""
    queries, passages = torch.from_numpy(outcomes).float().unflatten(1, (2, -1)).unbind(1)
    return queries, passages, torch.from_numpy(plain(columns["passage_key"]))
