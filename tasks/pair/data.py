"""Contrastive pairs: a query and the passage that answers it, for a dual encoder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from common import fields
from common.columns import Columns, Lists, lists, plain, spread
from tasks.base import Draw, Positions, TaskType
from tasks.encoding import Encoding, Pieces, Row, make_row, template_of, tokenize

QUERY = ("query", "anchor", "question")
PASSAGE = ("passage", "positive", "answer")
NEGATIVE = ("negative", "hard_negative")
KEYS = ("group_key", "passage_key", "negative_key")


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
    """Two sequences, `<s> query </s>` and `<s> passage </s>`, and a third one of the hard negative where there is one.

    The head reads one vector of each: of the first token, or the mean of all tokens (pooling `mean`).
    """

    metrics = ("map@20",)
    columns = tuple((name, pa.int64()) for name in KEYS)

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Pair:
        query, passage = (fields.text(row, fields.column(row, names, where), where) for names in (QUERY, PASSAGE))
        given = [name for name in NEGATIVE if row.get(name) is not None]
        negative = fields.text(row, fields.column(row, NEGATIVE, where), where) if given else ""
        group = row.get("group")
        if group is not None and (isinstance(group, bool) or not isinstance(group, str | int)):
            raise fields.wrong(where, "group", "a text or a whole number", group)
        return Pair(str(row.get("id", "")), query, passage, negative, "" if group is None else str(group))

    def validate(self, example: Pair, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.query, "query", where)
        fields.check_text(example.passage, "passage", where)
        if example.negative:
            fields.check_text(example.negative, "negative", where)

    def identity(self, example: Pair) -> dict[str, str]:
        found = {"text": f"{example.query}\n{example.passage}", "question": example.query, "context": example.passage}
        return {**found, "text (negative)": f"{example.query}\n{example.negative}"} if example.negative else found

    def encode(self, tokenizer: Pieces, examples: Sequence[Pair], to: Encoding) -> list[Row]:
        """Adds `KEYS`, integers from 0 to 2^63 - 1; a row without a hard negative has -1 as its `negative_key`.

        Each text is cut at its end, the query to `query_length` and the others to `max_length` tokens. Equal texts (by
        their tokens after the cut, so what the encoder sees) have equal keys as passages and as negatives, and rows of
        one group equal keys of their group: in a batch, such a text is not a wrong answer to the other row's query.
        """
        template = template_of(tokenizer)
        lengths = {"query": to.query_length or to.max_length, "passage": to.max_length, "negative": to.max_length}
        ids = tokenize(tokenizer, (text for e in examples for text in (e.query, e.passage, e.negative) if text))
        rows = []
        for index, example in enumerate(examples):
            sequences = []
            for name, most in lengths.items():
                if text := getattr(example, name):
                    tokens = ids[text]
                    if len(tokens) > most - 2:
                        to.truncated[name] += 1
                    sequences.append(template.single(tokens[: most - 2]))
            keys = [_key(np.array(sequence, "<i4").tobytes()) for sequence in sequences[1:]]
            group = _key(b"group " + example.group.encode("utf-8", "replace")) if example.group else keys[0]
            negative = keys[1] if example.negative else -1
            row = make_row(template, sequences, 1, index, group_key=group, passage_key=keys[0], negative_key=negative)
            rows.append(row)
        return rows

    def encoding_parts(self, max_length: int, query_length: int | None) -> list[Any]:
        return [query_length or max_length, KEYS]

    def complete(self, columns: Columns, draw: Draw) -> Columns:
        """Adds `slot`, the number of the pair among the step's, by which its gradients are found.

        With pooling `mean`, for which all tokens are read, that is the column `slot_of_whole`.
        """
        return {**columns, "slot_of_whole" if draw.pooling == "mean" else "slot": draw.numbers}

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        """labels: the slot of each pair; group: its keys."""
        lengths, keys = lists(columns["lengths"]), keys_of(columns)
        if "slot" in columns:
            return Positions(starts, plain(columns["slot"]), lengths.counts, group=keys)
        sizes = lengths.values.astype(np.int64)
        return Positions(spread(starts, sizes), plain(columns["slot_of_whole"]), lengths.counts, sizes, keys)

    def no_positions(self) -> Positions:
        return replace(super().no_positions(), group=np.zeros((0, len(KEYS)), np.int64))

    def majority(self, columns: Columns, gold: Sequence[dict[str, Any]]) -> float:
        _, counts = np.unique(plain(columns["passage_key"]), return_counts=True)
        return float(counts.max()) / int(counts.sum())


def keys_of(columns: Columns) -> np.ndarray:
    """int64 [rows, 3]: `KEYS` of each row."""
    return np.stack([plain(columns[name]) for name in KEYS], 1)


def _key(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") >> 1


def crossed(queries: Columns, passages: Columns) -> Columns:
    """Rows of the queries of some rows and the passages and negatives of as many others; the same columns in both.

    `lengths` must be among them. `example` is that of the query.
    """
    before, after = lists(queries["lengths"]), lists(passages["lengths"])
    one = np.ones(len(before.counts), np.int64)
    lengths = _joined(before, after, one, one)
    tokens = [part.values[part.starts].astype(np.int64) for part in (before, after)]  # of both queries
    found: Columns = {}
    for name, column in passages.items():
        if name == "example":
            found[name] = queries[name]
        elif name == "length":
            found[name] = np.add.reduceat(lengths.values, lengths.starts)
        elif isinstance(column, Lists):
            cuts = tokens if name == "input_ids" else [one, one]
            found[name] = _joined(lists(queries[name]), column, *cuts)
        else:
            found[name] = column
    return found


def _joined(one: Lists, other: Lists, kept: np.ndarray, left_out: np.ndarray) -> Lists:
    """Of each row the first `kept` values in `one`, and those in `other` but for the first `left_out`."""
    starts = np.stack([one.starts, len(one.values) + other.starts + left_out], 1).ravel()
    counts = np.stack([kept, other.counts - left_out], 1)
    values = np.concatenate([one.values, other.values])
    return Lists(values[spread(starts, counts.ravel())], counts.sum(1))
