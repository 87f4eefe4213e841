"""The multiple-choice head."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tasks import head


class Head(head.Head):
    """[m, H] first tokens of every choice -> [m]."""

    auto_class = "AutoModelForMultipleChoice"
    reads, outputs = "choice", 1

    def forward(self, hidden: Tensor, encoder: Any, mean: head.Mean | None = None) -> Tensor:
        return super().forward(hidden, encoder, mean)[:, 0]

    def unit_losses(self, scores: Tensor, rows: head.HeadRows) -> tuple[Tensor, Tensor]:
        """Cross-entropy over the choices of each example."""
        return super().unit_losses(rows.table(scores), rows)

    def decode(self, scored: head.Scored, example: Any, labels: Sequence[str] | None) -> int:
        """The index of a choice."""
        return int(scored[0][1].argmax())
