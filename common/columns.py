"""Columns of several rows in NumPy: plain columns are arrays, list columns are `Lists`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Lists:
    """A list column. values: the concatenated lists; counts: int64 [rows], their lengths."""

    values: np.ndarray
    counts: np.ndarray

    @property
    def ends(self) -> np.ndarray:
        """int64 [rows]: where each list ends in `values`."""
        return np.cumsum(self.counts)

    @property
    def starts(self) -> np.ndarray:
        """int64 [rows]: where each list starts in `values`."""
        return self.ends - self.counts


Column = np.ndarray | Lists
Columns = dict[str, Column]


def as_numbers(values: ArrayLike) -> np.ndarray:
    """int64, or float32 where `values` are real numbers: the two types that heads read."""
    array = np.asarray(values)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64, order="C", copy=False)


def spread(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64 [sum of counts]: the concatenated ranges starts[i], ..., starts[i] + counts[i] - 1."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - counts), counts) + np.arange(total)


def merged(parts: Sequence[Column], order: np.ndarray) -> Column:
    """One column of the rows of `parts`, one after another, of which `order` takes these, in this order."""
    if isinstance(parts[0], Lists):
        some = [lists(part) for part in parts]
        whole = Lists(np.concatenate([part.values for part in some]), np.concatenate([part.counts for part in some]))
        counts = whole.counts[order]
        return Lists(whole.values[spread(whole.starts[order], counts)], counts)
    return np.concatenate([plain(part) for part in parts])[order]


def rows_of(columns: Columns) -> list[dict[str, Any]]:
    """The columns row by row: arrays for lists, numbers for the rest."""
    parts = [np.split(c.values, c.ends[:-1]) if isinstance(c, Lists) else c.tolist() for c in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*parts, strict=False)]


def lists(column: Column) -> Lists:
    """`column`, which must be a list column."""
    assert isinstance(column, Lists)
    return column


def plain(column: Column) -> np.ndarray:
    """`column`, which must be a plain column."""
    assert isinstance(column, np.ndarray)
    return column
