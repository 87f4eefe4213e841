"""The rows of all datasets of two sentences and a label."""

from collections.abc import Callable, Mapping
from typing import Any

from common import fields
from data_prep.datasets.schema import NO_GOLD, Dropped
from tasks.classify.data import Classify


def sentence_pair(
    first: str,
    second: str,
    label: str = "label",
    *,
    order: fields.Labels = (),
    words: Mapping[str, str] | None = None,
    unlabelled: tuple[Any, ...] = (),
    name: str = "id",
) -> Callable[[fields.RawRow, str, fields.Labels], Classify]:
    """What converts a row with these columns.

    The label is a name, a number in `order` (which is the Hub's: a copy may number them in another) or one of `words`;
    rows whose label is among `unlabelled` are dropped.
    """

    def convert(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
        value = row.get(label)
        if value in unlabelled:
            raise Dropped(NO_GOLD)
        value = fields.withheld(value, where)
        given = fields.named(value, order, label, where) if order else fields.text(row, label, where)
        number = fields.label((words or {}).get(given, given), where, labels)
        texts = fields.text(row, first, where), fields.text(row, second, where)
        return Classify(str(row.get(name, "")), *texts, number)

    return convert
