"""Masked language modelling: text without labels, masked anew in every step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common import fields
from common.columns import Columns, Lists, lists
from tasks.base import Draw, Positions, TaskType
from tasks.encoding import Encoding, Pieces, Row, Special, make_row, template_of, tokenize

MLM_PROBABILITY = 0.15  # of the unit counts in prepared folders; a run may mask another share
_MASKING = 3  # keeps these random numbers apart from those of the sampler


@dataclass(frozen=True, slots=True)
class Text:
    """A text without labels."""

    id: str
    text: str


class Type(TaskType[Text]):
    """`<s> tokens </s>`, a long text cut into several rows; the head reads the masked tokens."""

    metrics = ("masked_accuracy",)
    all_embeddings = True

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Text:
        return Text(str(row.get("id", "")), fields.text(row, fields.column(row, ("text", "sentence"), where), where))

    def validate(self, example: Text, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.text, "text", where)

    def encode(self, tokenizer: Pieces, examples: Sequence[Text], to: Encoding) -> list[Row]:
        """Adds nothing; every token is kept. A text that the normalizer leaves nothing of gives no row.

        `units` is `masked_count(length)` at 15 %: any token but the row's own `<s>` and `</s>` may be masked.
        """
        template = template_of(tokenizer)
        ids = tokenize(tokenizer, (e.text for e in examples))
        room = to.max_length - 2
        rows = []
        for index, example in enumerate(examples):
            tokens = ids[example.text]
            for first in range(0, len(tokens), room):
                part = tokens[first : first + room]
                units = int(masked_count(np.array(len(part) + 2), MLM_PROBABILITY))
                rows.append(make_row(template, [template.single(part)], units, index))
        return rows

    def units(self, length: np.ndarray, units: np.ndarray, mlm_probability: float) -> np.ndarray:
        return masked_count(length, mlm_probability)

    def complete(self, columns: Columns, draw: Draw) -> Columns:
        """Adds `positions` and `labels` and changes `input_ids`: the masked tokens of this step."""
        ids = lists(columns["input_ids"])
        masked = [
            mask_tokens(row, draw.special, draw.mlm_probability, (draw.seed, draw.step, int(slot)))
            for row, slot in zip(np.split(ids.values, ids.ends[:-1]), draw.slots, strict=True)
        ]
        values, positions, labels = (np.concatenate(part) for part in zip(*masked, strict=True))
        counts = np.array([len(part) for _, part, _ in masked])
        new = {"positions": Lists(positions, counts), "labels": Lists(labels, counts)}
        return {**columns, "input_ids": Lists(values, ids.counts), **new}

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        return Positions.labelled(columns, starts[first])


def masked_count(lengths: np.ndarray, probability: float) -> np.ndarray:
    """Masked tokens of rows of `lengths` tokens (<s> and </s> included): int64, at least 1.

    A function of the length alone, so that every rank knows the loss units of a batch.
    """
    return np.maximum(1, np.rint(probability * (np.asarray(lengths) - 2))).astype(np.int64)


def mask_tokens(
    input_ids: np.ndarray, special: Special, probability: float, key: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids with masks int64 [length], masked positions [k], their former ids [k]) of one row.

    How many are masked depends on the length alone (`masked_count`); which ones, on `key` = (seed, step, slot in the
    global batch). Of the chosen tokens 80 % become <mask>, 10 % a random token, 10 % stay (Devlin et al. 2019,
    section 3.1).
    """
    ids = np.array(input_ids, dtype=np.int64)
    seed, step, slot = key
    generator = np.random.Generator(np.random.Philox(key=[_MASKING, seed], counter=[0, slot, step, 0]))
    count = int(masked_count(np.array([len(ids)]), probability)[0])
    positions = np.sort(1 + generator.choice(len(ids) - 2, size=count, replace=False))  # never the row's <s> and </s>
    labels = ids[positions]
    fate = generator.random(count)
    drawn = generator.integers(0, special.vocabulary, size=count)
    drawn = np.where(np.isin(drawn, special.others), special.mask, drawn)
    ids[positions] = np.where(fate < 0.8, special.mask, np.where(fate < 0.9, drawn, labels))
    return ids, positions, labels
