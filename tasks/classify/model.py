"""The classification head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from tasks import head
from tasks.head import Scored, classifier_dropout


class Head(head.Head):
    """[n, H] first tokens -> [n, labels]: dropout, dense, tanh, dropout, linear (XLMRobertaClassificationHead)."""

    auto_class = "AutoModelForSequenceClassification"
    export_prefix = "classifier."

    def __init__(self, config: PretrainedConfig, labels: int | None) -> None:
        super().__init__(config, labels)
        assert labels is not None
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.out_proj = nn.Linear(config.hidden_size, labels)

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        return self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(hidden)))))

    def decode(self, scored: Scored, example: Any, labels: Sequence[str] | None) -> str | float:
        """A label name."""
        assert labels is not None
        return labels[int(scored[0][1][0].argmax())]
