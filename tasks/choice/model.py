"""The multiple-choice head."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig

from tasks import head
from tasks.head import HeadRows, Scored


class Head(head.Head):
    """[m, H] first tokens of every choice -> [m]: encoder's pooler, dropout, linear (XLMRobertaForMultipleChoice)."""

    reads_pooler = True
    auto_class = "AutoModelForMultipleChoice"

    def __init__(self, config: PretrainedConfig, labels: int | None) -> None:
        super().__init__(config, labels)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        return self.classifier(self.dropout(encoder.pooler(hidden[:, None])))[:, 0]

    def unit_losses(self, scores: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor]:
        """Cross-entropy over the choices of each example."""
        return super().unit_losses(rows.table(scores), rows)

    def decode(self, scored: Scored, example: Any, labels: Sequence[str] | None) -> int:
        """The index of a choice."""
        return int(scored[0][1].argmax())
