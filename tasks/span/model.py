"""The head of extractive question answering."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.columns import Columns
from tasks import head, intervals
from tasks.intervals import Interval
from tasks.span.data import Span
from tasks.span.squad import Answer, best_answer, squad_scores


class Head(head.Head):
    """[m, H] -> [m, 2] start and end scores by token."""

    auto_class = "AutoModelForQuestionAnswering"
    reads, outputs = "span", 2
    export_config: ClassVar[dict[str, Any]] = {"num_labels": 2}
    outcome = ("exact match", "F1")

    def unit_losses(self, scores: Tensor, rows: head.HeadRows) -> tuple[Tensor, Tensor]:
        """Mean of the start and the end cross-entropy over all tokens of the window (Devlin et al. 2019, section 4.2);

        right where both are.
        """
        start, end = (rows.table(scores[:, side]) for side in (0, 1))
        losses = [F.cross_entropy(s, rows.labels[:, i], reduction="none") for i, s in enumerate((start, end))]
        right = (start.argmax(-1) == rows.labels[:, 0]) & (end.argmax(-1) == rows.labels[:, 1])
        return (losses[0] + losses[1]) / 2, right.float()

    def gold_probability(self, losses: Tensor) -> Tensor:
        """That of the start times that of the end, of which the loss is the mean."""
        return torch.exp(-2 * losses)

    def decode(self, scored: head.Scored, example: Span, labels: Sequence[str] | None) -> str:
        """The answer text, never empty for want of an answer: for targets whose questions all have one."""
        return _answer(scored).text(example.context)

    def example_outcome(self, scored: head.Scored, gold: dict[str, Any] | None, metric: str) -> tuple[float, float]:
        assert gold is not None
        v2 = metric == "squad_v2"
        return squad_scores(_answer(scored, null_allowed=v2).text(gold["context"]), gold["answers"], v2=v2)

    def dev_metrics(self, totals: np.ndarray, outcomes: np.ndarray, columns: Columns) -> dict[str, float]:
        exact, overlap = outcomes.mean(axis=0)
        return {"f1": float(overlap), "em": float(exact), "loss": head.mean_loss(totals)}

    def dev_interval(self, score: float, units: np.ndarray, outcomes: np.ndarray, columns: Columns) -> Interval:
        return intervals.mean(outcomes[:, 1])


def _answer(scored: head.Scored, null_allowed: bool = False) -> Answer:
    windows = [(scores[:, 0], scores[:, 1], row["offset_start"], row["offset_end"]) for row, scores in scored]
    return best_answer(windows, null_allowed=null_allowed)
