"""The interface of a task type to data preparation, packing and dev evaluation. `tasks/head.py` is its torch half."""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, cast

import numpy as np
import pyarrow as pa

from common.columns import Columns, lists, plain, spread
from common.fields import Labels
from tasks.encoding import Encoding, Pieces, Row, Special


class Example(Protocol):
    """An example of any task type. `id`: its name in the source, or ""."""

    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=Example)
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Draw:
    """How rows of one task came into a batch. slots: int64 [n], positions in the global batch; numbers: int64 [n],

    positions among the rows of this task in the global batch.
    """

    seed: int
    step: int
    slots: np.ndarray
    numbers: np.ndarray
    special: Special
    mlm_probability: float
    pooling: str | None = None  # of the task, see `TaskEntry`


@dataclass(frozen=True)
class Positions:
    """What a head reads of n rows (m positions of the packed row in all); see `tasks.head.HeadRows`.

    Arrays of integers; `labels` may be of real numbers.
    """

    tokens: np.ndarray
    labels: np.ndarray
    counts: np.ndarray  # [n] positions of each row
    sizes: np.ndarray | None = None  # int64 [m]: `tokens` are all of m sequences, so long, each a position of a row
    group: np.ndarray = field(default_factory=lambda: _NONE)
    column: np.ndarray = field(default_factory=lambda: _NONE)

    @classmethod
    def table(cls, tokens: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> "Positions":
        """Positions whose scores are laid out as a table: a line per row, a column per position of the row."""
        group = np.repeat(np.arange(len(counts)), counts)
        column = spread(np.zeros(len(counts), np.int64), counts)
        return cls(tokens, labels, counts, group=group, column=column)

    @classmethod
    def labelled(cls, columns: Columns, starts: np.ndarray) -> "Positions":
        """The tokens at `positions` of each row of one sequence, with their `labels`."""
        positions, labels = lists(columns["positions"]), lists(columns["labels"])
        if not np.array_equal(positions.counts, labels.counts):
            raise ValueError("`positions` and `labels` do not add up")
        return cls(np.repeat(starts, positions.counts) + positions.values, labels.values, positions.counts)


class LeftOut(Exception):
    """A row that cannot be used once translated; its text is the reason under which it is counted."""


class Translation(Protocol):
    """Texts into one language; both methods raise `LeftOut` where a translation fails its checks."""

    def text(self, text: str) -> str:
        """A whole text."""

    def span(self, context: str, answer: str, start: int) -> tuple[str, str, int]:
        """A context, and in it an answer and its first character; both texts translated, and where the answer is."""


class TaskType(ABC, Generic[E]):
    """One task type: its examples, how they are checked and encoded, what its head reads of a row.

    metrics: dev metrics a task of this type may have, the default first. labels: whether a task names its labels,
    may leave them to the training data, or has none. columns: Arrow columns that `encode` adds; dev_columns: those of
    the dev split alone.
    """

    metrics: ClassVar[tuple[str, ...]]
    labels: ClassVar[Literal["required", "optional", "none"]] = "none"
    columns: ClassVar[tuple[tuple[str, pa.DataType], ...]] = ()
    dev_columns: ClassVar[tuple[tuple[str, pa.DataType], ...]] = ()
    all_embeddings = False  # whether the loss reaches every row of the word embeddings
    whole = False  # whether a position stands for its sequence, of which some families' heads read every token
    accuracy = True  # whether a unit is right or wrong; else its loss alone is logged in training
    translatable = False  # whether it has `translated`
    dynamics = False  # whether a row has a gold answer whose probability training dynamics follow; such rows have ids
    gold: ClassVar[pa.Schema | None] = None  # of what dev scoring needs of an example besides its rows

    @property
    def stored(self) -> tuple[str, ...]:
        """The names of `columns`, which `complete` and `positions` need."""
        return tuple(name for name, _ in self.columns)

    # Data preparation

    @abstractmethod
    def from_row(self, row: dict[str, Any], where: str, labels: Labels) -> E:
        """The example of a row of a user's own file, in the type's canonical fields."""

    @abstractmethod
    def validate(self, example: E, where: str, labels: Sequence[str] | None = None) -> None:
        """Checks an example; `where`: file and row for the message; `labels`: the task's label names, if known.

        Raises `EmptyText` for a text without a visible character and `InputError` for everything else that is wrong.
        """

    @abstractmethod
    def encode(self, tokenizer: Pieces, examples: Sequence[E], to: Encoding) -> list[Row]:
        """Rows (see `tasks/encoding.py`); what was cut is counted in `to.truncated`."""

    def encoding_parts(self, max_length: int, query_length: int | None) -> list[Any]:
        """What the rows depend on besides labels, `max_length` and the tokenizer; part of the folder's name."""
        return []

    def labels_in(self, example: E) -> Sequence[str]:
        """The label names in an example, for types whose labels may come from the training data."""
        return ()

    def identity(self, example: E) -> dict[str, str]:
        """The texts by which an example is known again in another set, by what they are."""
        _, *values = dataclasses.astuple(cast(Any, example))  # without the id
        nested = ([value] if isinstance(value, str) else value for value in values if isinstance(value, str | tuple))
        return {"text": "\n".join(text for texts in nested for text in texts)}

    def translated(self, example: E, labels: Labels, to: Translation) -> dict[str, Any]:
        """The row, as `from_row` reads it, of an example whose texts are translated and whose label is kept.

        Raises `LeftOut` with the reason where that is not possible.
        """
        raise NotImplementedError

    def row_id(self, example: E) -> str:
        """By what an example is found again when its data are prepared anew: its id, or else a digest of its texts."""
        texts = "\n".join(self.identity(example).values())
        return example.id or hashlib.sha256(texts.encode("utf-8", "replace")).hexdigest()[:16]

    def gold_record(self, example: E) -> dict[str, Any]:
        """The fields of `gold` of a dev example."""
        raise NotImplementedError

    # Packing

    def units(self, length: np.ndarray, units: np.ndarray, mlm_probability: float) -> np.ndarray:
        """Loss units of rows, int64 [n], from their columns `length` and `units`."""
        return units

    def complete(self, columns: Columns, draw: Draw) -> Columns:
        """Rows as they are packed: `columns` with what depends on the step."""
        return columns

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        """What the head reads: here the first token of each sequence, with the row's `label`.

        starts: where each sequence begins in the packed row; first: first sequence of each row. `ValueError` for rows
        that do not add up.
        """
        return Positions(starts, plain(columns["label"]), lists(columns["lengths"]).counts)

    def no_positions(self) -> Positions:
        """What the head reads where a batch has no rows of its task."""
        return Positions(_NONE, _NONE, _NONE)

    def classes(self, columns: Columns) -> np.ndarray:
        """int64 [rows]: the class of each row, among which strata of rows are balanced, from the stored columns."""
        return plain(columns["label"]).astype(np.int64)

    # Dev evaluation

    def majority(self, columns: Columns, gold: Sequence[dict[str, Any]]) -> float:
        """The score, in [0, 1], of always giving the commonest answer of these dev rows."""
        found = columns["label"] if "label" in columns else lists(columns["labels"]).values
        values = plain(found)
        known = values[values >= 0]
        return float(np.bincount(known).max()) / len(values) if len(known) else 0.0
