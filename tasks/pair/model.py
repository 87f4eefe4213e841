"""The dual encoder of contrastive pairs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig

from common.columns import Columns
from tasks import head, intervals
from tasks.intervals import Interval
from tasks.pair.data import keys_of
from tasks.pair.gradient_caching import average_precision, loss, sequences, stacked, unit_losses


class Head(head.Head):
    """[m, H] first tokens -> [m, H] of length 1: encoder's pooler, where it has one, normalised.

    With `pooling` the first token itself, the mean over all tokens, or the pooler. `logit_scale`, the inverse of the
    temperature: learned from 100 on, as in XTREME-R, if nothing else is said.
    """

    reads = "vector"
    outcome = ("vectors",)

    def __init__(self, config: PretrainedConfig, labels: int | None, bodies: head.Bodies) -> None:
        super().__init__(config, labels, bodies)
        self.logit_scale = nn.Parameter(torch.tensor([100.0]))

    def set_temperature(self, temperature: float, learned: bool) -> None:
        nn.init.constant_(self.logit_scale, 1.0 / temperature)
        self.logit_scale.requires_grad_(learned)

    def forward(self, hidden: Tensor, encoder: Any, mean: head.Mean | None = None) -> Tensor:
        return F.normalize(super().forward(hidden, encoder, mean).float(), dim=1)

    def unit_losses(self, scores: Tensor, rows: head.HeadRows) -> tuple[Tensor, Tensor]:
        """Of the pairs of this batch alone; in a training step those of the whole step count (`loss`)."""
        return unit_losses(stacked(scores, rows), self.logit_scale[0].float(), rows.group)

    def loss(self, scores: Tensor, rows: head.HeadRows) -> tuple[Tensor, Tensor, Tensor]:
        return loss(scores, self.logit_scale[0], rows)

    def outcome_width(self, hidden_size: int) -> int:
        return 3 * hidden_size

    def example_outcome(self, scored: head.Scored, gold: dict[str, Any] | None, metric: str) -> np.ndarray:
        """The vectors of query, passage and hard negative; 0 where there is none."""
        vectors = scored[0][1]
        return np.concatenate([vectors, np.zeros((3 - len(vectors), vectors.shape[1]))]).ravel()

    def dev_metrics(self, totals: np.ndarray, outcomes: np.ndarray, columns: Columns) -> dict[str, float]:
        """Every query against the passages and hard negatives of all dev pairs."""
        vectors, keys = _dev_pairs(outcomes, columns)
        losses, right = unit_losses(vectors, self.logit_scale.detach()[0].float().cpu(), keys)
        return {
            "map@20": float(average_precision(vectors, keys).mean()),
            "accuracy": float(right.mean()),
            "loss": float(losses.mean()),
        }

    def dev_interval(self, score: float, units: np.ndarray, outcomes: np.ndarray, columns: Columns) -> Interval:
        return intervals.mean(average_precision(*_dev_pairs(outcomes, columns)).double().numpy())


def _dev_pairs(outcomes: np.ndarray, columns: Columns) -> tuple[Tensor, Tensor]:
    """(vectors float32 [n, C, H] of query, passage and hard negative, 0 where a pair has none; keys int64 [n, 3])."""
    keys = keys_of(columns)
    return torch.from_numpy(outcomes).float().unflatten(1, (3, -1))[:, : sequences(keys)], torch.from_numpy(keys)
