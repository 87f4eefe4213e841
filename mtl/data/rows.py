"""The rows of a task's prepared splits, and what its examples are drawn from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from common.columns import Columns, merged, plain, rows_of
from data_prep.storage.arrow_file import Split


class Rows:
    """The rows of several splits, concatenated. Nothing is read on opening.

    chosen: ascending int64, the numbers of those to have among all (None: all); rows are then counted among these.
    """

    def __init__(self, splits: Sequence[Split], chosen: np.ndarray | None = None) -> None:
        self.splits = list(splits)
        self._ends = np.cumsum([split.rows for split in splits])
        self.chosen = chosen

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.chosen is None else len(self.chosen)

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of these rows among all that were prepared."""
        return rows if self.chosen is None else self.chosen[rows]

    # Whole columns, copied into memory: for dev sets.

    @cached_property
    def length(self) -> np.ndarray:
        """int32 [rows]: tokens of each row."""
        lengths = np.concatenate([split.whole("length") for split in self.splits])
        return lengths[slice(None) if self.chosen is None else self.chosen]

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.length.max())

    @cached_property
    def first_examples(self) -> list[int]:
        """What is added to the examples of each split, which count from 0, so that they stay distinct."""
        counts = [int(split.whole("example")[-1]) + 1 if split.rows else 0 for split in self.splits]
        return [0, *accumulate(counts[:-1])]

    @cached_property
    def example(self) -> np.ndarray:
        """int32 [rows]: the example of each row, with `first_examples`."""
        shifted = [split.whole("example") + n for split, n in zip(self.splits, self.first_examples, strict=True)]
        return np.concatenate(shifted)[slice(None) if self.chosen is None else self.chosen]

    def gather(self, rows: np.ndarray, names: Sequence[str]) -> Columns:
        """Columns `names` of these rows (at least one), in the order given (see `Split.gather`)."""
        rows = self.numbers(rows)
        if len(self.splits) == 1:
            return self.splits[0].gather(rows, names)
        splits, positions, numbers = zip(*self._by_split(rows), strict=True)
        parts = [split.gather(mine, names) for split, mine in zip(splits, numbers, strict=True)]
        order = np.argsort(np.concatenate(positions))
        return {name: merged([part[name] for part in parts], order) for name in names}

    def take(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """These encoded rows, in the order given."""
        return rows_of(self.gather(rows, self.splits[0].columns))

    def _by_split(self, rows: np.ndarray) -> Iterator[tuple[Split, np.ndarray, np.ndarray]]:
        """(split, positions in `rows` of the rows in it, their numbers in it)."""
        owner = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owner).tolist():
            split, positions = self.splits[number], np.flatnonzero(owner == number)
            yield split, positions, rows[positions] - (int(self._ends[number]) - split.rows)

    def origin(self, row: int) -> str:
        """File and row number on disk, for a message."""
        ((split, _, numbers),) = self._by_split(self.numbers(np.array([row])))
        (example,) = split.gather(numbers, ["example"]).values()
        return f"{split.path} row {numbers[0]} (example {plain(example)[0]})"


@dataclass(frozen=True)
class Source:
    """The training rows first <= row < first + rows of a task, all in one language ("": of a task without languages).

    share: of the draws of the task; tokens: of a row, on average; passages: the language of the passages, where it is
    another (`mtl/data/hybrid.py`).
    """

    language: str
    first: int
    rows: int
    share: float
    tokens: float
    passages: str = ""

    @property
    def name(self) -> str:
        """`language`, or both languages."""
        return f"{self.language} > {self.passages}" if self.passages else self.language
