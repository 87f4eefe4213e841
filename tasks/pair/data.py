"""Contrastive pairs: a query and the passage that answers it, for a dual encoder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from common import fields
from common.columns import Columns, plain
from tasks.base import Draw, Positions, TaskType
from tasks.encoding import Encoding, Pieces, Row, make_row, template_of, tokenize

QUERY = ("query", "anchor", "question")
PASSAGE = ("passage", "positive", "answer")


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the passage that answers it: each becomes a vector of its own.

    negative: a passage that does not answer it, or "". group: the id of its meaning, or "": the texts of one group, in
    whatever language, are no negatives of one another; without it the key is the passage.
    """

    id: str
    query: str
    passage: str
    negative: str = ""
    group: str = ""


class Type(TaskType[Pair]):
    """Two sequences, `<s> query </s>` and `<s> passage </s>`; the head reads the first token of each."""

    metrics = ("map@20",)
    columns = (("passage_key", pa.int64()),)
    stored = ("passage_key",)

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Pair:
        query, passage = (fields.text(row, fields.column(row, names, where), where) for names in (QUERY, PASSAGE))
        return Pair(str(row.get("id", "")), query, passage)

    def validate(self, example: Pair, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.query, "query", where)
        fields.check_text(example.passage, "passage", where)

    def encode(self, tokenizer: Pieces, examples: Sequence[Pair], to: Encoding) -> list[Row]:
        """Adds `passage_key`, an int from 0 to 2^63 - 1.

        Each text is cut at its end, the query to `query_length` and the passage to `max_length` tokens. Rows with the
        same passage (its tokens after the cut, so what the encoder sees) have the same key, and others another one: in
        a batch such a passage is not a wrong answer to the other row's query.
        """
        max_length, truncated = to.max_length, to.truncated
        query_length = to.query_length or max_length
        template = template_of(tokenizer)
        ids = tokenize(tokenizer, (text for e in examples for text in (e.query, e.passage)))
        rows = []
        for index, example in enumerate(examples):
            sequences = []
            for text, most, name in ((example.query, query_length, "query"), (example.passage, max_length, "passage")):
                tokens = ids[text]
                if len(tokens) > most - 2:
                    truncated[name] += 1
                sequences.append(template.single(tokens[: most - 2]))
            digest = hashlib.blake2b(np.array(sequences[1], "<i4").tobytes(), digest_size=8).digest()
            rows.append(make_row(template, sequences, 1, index, passage_key=int.from_bytes(digest, "little") >> 1))
        return rows

    def encoding_parts(self, max_length: int, query_length: int | None) -> list[Any]:
        return [query_length or max_length]

    def complete(self, columns: Columns, draw: Draw) -> Columns:
        """Adds `slot`: the number of the pair among the step's, by which its gradients are found."""
        return {**columns, "slot": draw.numbers}

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        """labels: the slot of each pair; group: the key of its passage."""
        slots, keys = plain(columns["slot"]), plain(columns["passage_key"])
        return replace(Positions(starts, slots, np.full(len(slots), 2)), group=keys)

    def majority(self, columns: Columns, gold: Sequence[dict[str, Any]]) -> float:
        _, counts = np.unique(plain(columns["passage_key"]), return_counts=True)
        return float(counts.max()) / int(counts.sum())
