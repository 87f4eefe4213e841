"""Columns of several rows in NumPy: plain columns are arrays, list columns are `Lists`."""

from dataclasses import dataclass

import numpy as np


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


def spread(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64 [sum of counts]: the concatenated ranges starts[i], ..., starts[i] + counts[i] - 1."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - counts), counts) + np.arange(total)


def lists(column: Column) -> Lists:
    """`column`, which must be a list column."""
    assert isinstance(column, Lists)
    return column


def plain(column: Column) -> np.ndarray:
    """`column`, which must be a plain column."""
    assert isinstance(column, np.ndarray)
    return column
