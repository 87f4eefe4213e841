"""Classification: a text or a pair of texts with one label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common import fields
from tasks.base import TaskType, Translation
from tasks.encoding import INT, Encoding, Pieces, Row, encode_pairs

TEXT_A = ("text_a", "sentence1", "premise", "question1", "sentence", "text")
TEXT_B = ("text_b", "sentence2", "hypothesis", "question2")


@dataclass(frozen=True, slots=True)
class Classify:
    """A text or a pair of texts with one label; `label` is an id, the index into the task's label names."""

    id: str
    text_a: str
    text_b: str | None
    label: int


class Type(TaskType[Classify]):
    """`<s> A </s></s> B </s>` or `<s> A </s>`; the head reads the first token."""

    metrics = ("accuracy",)
    labels = "required"
    columns = (("label", INT),)
    whole = True
    translatable = True
    dynamics = True

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
        text_a = fields.text(row, fields.column(row, TEXT_A, where), where)
        second = any(row.get(name) is not None for name in TEXT_B)
        text_b = fields.text(row, fields.column(row, TEXT_B, where), where) if second else None
        label = fields.label_name(fields.get(row, "label", where), where, labels)
        return Classify(str(row.get("id", "")), text_a, text_b, fields.label(label, where, labels))

    def validate(self, example: Classify, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.text_a, "text_a", where)
        if example.text_b is not None:
            fields.check_text(example.text_b, "text_b", where)

    def translated(self, example: Classify, labels: fields.Labels, to: Translation) -> dict[str, Any]:
        row = {"id": example.id, "text_a": to.text(example.text_a), "label": labels[example.label]}
        return row if example.text_b is None else {**row, "text_b": to.text(example.text_b)}

    def encode(self, tokenizer: Pieces, examples: Sequence[Classify], to: Encoding) -> list[Row]:
        """Adds `label`, an int. Texts are cut at their ends, the longer one first."""
        rows = encode_pairs(tokenizer, [(e.text_a, e.text_b) for e in examples], to)
        return [{**row, "label": example.label} for row, example in zip(rows, examples, strict=True)]
