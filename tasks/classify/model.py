"""The classification head."""

from collections.abc import Sequence
from typing import Any

from tasks import head


class Head(head.Head):
    """[n, H] first tokens -> [n, labels]."""

    auto_class = "AutoModelForSequenceClassification"
    reads = "sequence"

    def decode(self, scored: head.Scored, example: Any, labels: Sequence[str] | None) -> str | float:
        """A label name."""
        assert labels is not None
        return labels[int(scored[0][1][0].argmax())]
