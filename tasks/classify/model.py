"""The classification head."""

from collections.abc import Sequence
from typing import Any, Self

from transformers import PretrainedConfig

from tasks import head
from tasks.head import Bodies, Scored


class Head(head.Head):
    """[n, H] first tokens -> [n, labels]."""

    auto_class = "AutoModelForSequenceClassification"

    @classmethod
    def of(cls, config: PretrainedConfig, labels: int | None, bodies: Bodies) -> Self:
        assert labels is not None
        return cls(bodies.sequence, config, labels)

    def decode(self, scored: Scored, example: Any, labels: Sequence[str] | None) -> str | float:
        """A label name."""
        assert labels is not None
        return labels[int(scored[0][1][0].argmax())]
