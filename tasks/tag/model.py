"""The token classification head."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig

from tasks import head
from tasks.head import HeadRows, Scored, classifier_dropout


class Head(head.Head):
    """[m, H] first tokens of words -> [m, labels]: dropout, linear (XLMRobertaForTokenClassification)."""

    auto_class = "AutoModelForTokenClassification"

    def __init__(self, config: PretrainedConfig, labels: int | None) -> None:
        super().__init__(config, labels)
        assert labels is not None
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, labels)

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        return self.classifier(self.dropout(hidden))

    def known(self, rows: HeadRows) -> Tensor:
        return rows.labels >= 0

    def decode(self, scored: Scored, example: Any, labels: Sequence[str] | None) -> list[str]:
        """A label name for every word."""
        assert labels is not None
        return [labels[int(number)] for _, scores in scored for number in scores.argmax(-1)]
