"""Regression: two sentences and a number, such as how similar they are (STS)."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from common import fields
from common.columns import Columns
from tasks.base import TaskType
from tasks.encoding import FLOAT, Encoding, Pieces, Row, encode_pairs

LARGEST = float(np.finfo(np.float32).max)


TEXT_A = ("text_a", "sentence1")
TEXT_B = ("text_b", "sentence2")


@dataclass(frozen=True, slots=True)
class Regress:
    """Two sentences with a real-valued label."""

    id: str
    text_a: str
    text_b: str
    label: float


class Type(TaskType[Regress]):
    """`<s> A </s></s> B </s>`; the head reads the first token."""

    metrics = ("pearson",)
    columns = (("label", FLOAT),)
    whole = True
    accuracy = False

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Regress:
        label = row[fields.column(row, ("label", "score"), where)]
        if isinstance(label, str):  # a table of text
            with suppress(ValueError):
                label = float(label)
        if isinstance(label, bool) or not isinstance(label, int | float):
            raise fields.wrong(where, "label", "a number", label)
        text_a, text_b = (fields.text(row, fields.column(row, names, where), where) for names in (TEXT_A, TEXT_B))
        return Regress(str(row.get("id", "")), text_a, text_b, label)

    def validate(self, example: Regress, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.text_a, "text_a", where)
        fields.check_text(example.text_b, "text_b", where)
        if not -LARGEST <= example.label <= LARGEST:  # NaN is neither
            raise fields.wrong(where, "label", "a finite number (float32)", example.label)

    def encode(self, tokenizer: Pieces, examples: Sequence[Regress], to: Encoding) -> list[Row]:
        """Adds `label`, a float. Texts are cut at their ends, the longer one first."""
        rows = encode_pairs(tokenizer, [(e.text_a, e.text_b) for e in examples], to)
        return [{**row, "label": float(example.label)} for row, example in zip(rows, examples, strict=True)]

    def majority(self, columns: Columns, gold: Sequence[dict[str, Any]]) -> float:
        """0: a constant correlates with nothing."""
        return 0.0
