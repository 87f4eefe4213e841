"""Classification: a text or a pair of texts with one label."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common import fields
from common.columns import Columns, lists, plain
from common.fields import Labels
from tasks.base import Positions, TaskType, check_label
from tasks.encoding import INT, Encoding, Pieces, Row, make_row, text_row, tokenize


@dataclass(frozen=True, slots=True)
class Classify:
    """A text or a pair of texts with one label; `label` is an id, the index into the task's label names."""

    id: str
    text_a: str
    text_b: str | None
    label: int


class ClassifyType(TaskType[Classify]):
    """`<s> A </s></s> B </s>` or `<s> A </s>`; the head reads the first token."""

    name = "classify"
    metrics = ("accuracy",)
    labels = "required"
    columns = (("label", INT),)
    stored = ("label",)

    def from_row(self, row: dict[str, Any], where: str, labels: Labels) -> Classify:
        text_b = fields.text(row, "text_b", where) if row.get("text_b") is not None else None
        label = fields.label(fields.text(row, "label", where), where, labels)
        return Classify(str(row.get("id", "")), fields.text(row, "text_a", where), text_b, label)

    def validate(self, example: Classify, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.text_a, "text_a", where)
        if example.text_b is not None:
            fields.check_text(example.text_b, "text_b", where)
        check_label(example.label, None if labels is None else len(labels), where)

    def encode(self, tokenizer: Pieces, examples: Sequence[Classify], to: Encoding) -> list[Row]:
        """Adds `label`, an int. Texts are cut at their ends, the longer one first."""
        max_length, truncated = to.max_length, to.truncated
        rows = encode_pairs(tokenizer, [(e.text_a, e.text_b) for e in examples], max_length, truncated)
        return [{**row, "label": example.label} for row, example in zip(rows, examples, strict=True)]

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        return Positions(starts, plain(columns["label"]), lists(columns["lengths"]).counts)


def encode_pairs(
    tokenizer: Pieces, texts: Sequence[tuple[str, str | None]], max_length: int, truncated: Counter[str]
) -> list[Row]:
    """A row per text (second None) or pair of texts, as transformers truncates with `longest_first`."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids = tokenize(tokenizer, (text for pair in texts for text in pair if text is not None))
    rows = []
    for index, (text_a, text_b) in enumerate(texts):
        if text_b is None:
            rows.append(text_row(tokenizer, ids[text_a], max_length, truncated, index))
            continue
        a, b = ids[text_a], ids[text_b]
        keep_a, keep_b = longest_first(len(a), len(b), max_length - 4)
        if keep_a < len(a) or keep_b < len(b):
            truncated["text"] += 1
        rows.append(make_row([[bos, *a[:keep_a], eos, eos, *b[:keep_b], eos]], 1, index))
    return rows


def longest_first(a: int, b: int, room: int) -> tuple[int, int]:
    """How many of `a` and `b` tokens to keep so that at most `room` remain, taking from the longer one first.

    Where both have to give, the halves are equal and an odd token goes to the longer text (transformers' rule,
    truncation="longest_first").
    """
    if a + b <= room:
        return a, b
    short, long = min(a, b), max(a, b)
    long = max(short, room - short)
    if short + long > room:
        short = room // 2
        long = room - short
    return (short, long) if a <= b else (long, short)
