"""The token classification head."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tasks import head


class Head(head.Head):
    """[m, H] first tokens of words -> [m, labels]."""

    auto_class = "AutoModelForTokenClassification"
    reads = "token"

    def known(self, rows: head.HeadRows) -> Tensor:
        return rows.labels >= 0

    def decode(self, scored: head.Scored, example: Any, labels: Sequence[str] | None) -> list[str]:
        """A label name for every word."""
        assert labels is not None
        return [labels[int(number)] for _, scores in scored for number in scores.argmax(-1)]
