"""The token classification head."""

from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor
from transformers import PretrainedConfig

from tasks import head
from tasks.head import Bodies, HeadRows, Scored


class Head(head.Head):
    """[m, H] first tokens of words -> [m, labels]."""

    auto_class = "AutoModelForTokenClassification"

    @classmethod
    def of(cls, config: PretrainedConfig, labels: int | None, bodies: Bodies) -> Self:
        assert labels is not None
        return cls(bodies.token, config, labels)

    def known(self, rows: HeadRows) -> Tensor:
        return rows.labels >= 0

    def decode(self, scored: Scored, example: Any, labels: Sequence[str] | None) -> list[str]:
        """A label name for every word."""
        assert labels is not None
        return [labels[int(number)] for _, scores in scored for number in scores.argmax(-1)]
