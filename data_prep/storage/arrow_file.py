"""Columns of a memory-mapped Arrow file for many rows at once: no loop over rows, no copy of what is not asked for.

    file = File(buffer, batches, schema)
    file.gather(rows, ["length", "input_ids"])      # {"length": int32 [rows], "input_ids": Lists(values, counts)}

A file holds many record batches, each with its own buffers. Kept is only where in the file each buffer begins (24 bytes
for 1024 rows and column), and one view of the whole file as numbers is indexed: a row costs the same in a file of any
size. Trade-off: buffers must be aligned and uncompressed, as the writer of `store.py` leaves them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from common.columns import Column, Columns, Lists, spread


def merge(parts: list[tuple[np.ndarray, Column]], rows: int) -> Column:
    """One column of `rows` rows from parts (places of the rows, their column)."""
    first = parts[0][1]
    if isinstance(first, Lists):
        counts = np.empty(rows, dtype=np.int64)
        for places, part in parts:
            assert isinstance(part, Lists)
            counts[places] = part.counts
        starts = np.cumsum(counts) - counts
        values = np.empty(int(counts.sum()), dtype=first.values.dtype)
        for places, part in parts:
            assert isinstance(part, Lists)
            values[spread(starts[places], part.counts)] = part.values
        return Lists(values, counts)
    plain = np.empty(rows, dtype=first.dtype)
    for places, part in parts:
        plain[places] = part
    return plain


@dataclass(frozen=True)
class _Places:
    """Where a column lies in the file, per batch, in its own numbers: values, how many, offsets (None: no lists)."""

    values: np.ndarray
    room: np.ndarray
    offsets: np.ndarray | None


class File:
    """The columns of all record batches of a file. `starts`: int64 [batches + 1], the first row of each."""

    def __init__(self, buffer: pa.Buffer, batches: list[pa.RecordBatch], columns: pa.Schema) -> None:
        """`ValueError` for columns with nulls, or whose buffers are not numbers that lie in `buffer`."""
        self._offsets = _view(buffer, np.dtype(np.int32))
        self.starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        self.names = tuple(columns.names)
        self._places: dict[str, _Places] = {}
        self._view: dict[str, np.ndarray] = {}
        for index, column in enumerate(columns):
            found = [_places(batch.column(index), buffer) for batch in batches]
            values, room, offsets = np.array(found, dtype=np.int64).reshape(-1, 3).T.copy()
            is_list = pa.types.is_list(column.type)
            self._places[column.name] = _Places(values, room, offsets if is_list else None)
            dtype = np.dtype((column.type.value_type if is_list else column.type).to_pandas_dtype())
            self._view[column.name] = _view(buffer, dtype)

    def gather(self, rows: np.ndarray, names: Iterable[str]) -> Columns:
        """Columns of the given rows (each in the file), in their order; `ValueError` for lists that do not add up."""
        batch = np.searchsorted(self.starts, rows, side="right") - 1
        place = rows - self.starts[batch]
        columns: Columns = {}
        for name in names:
            view, places = self._view[name], self._places[name]
            values = places.values[batch]
            if places.offsets is None:
                columns[name] = view[values + place]
                continue
            at = places.offsets[batch] + place
            first, last = self._offsets[at].astype(np.int64), self._offsets[at + 1].astype(np.int64)
            counts = last - first
            if len(rows) and (first.min() < 0 or counts.min() < 0 or np.any(last > places.room[batch])):
                raise ValueError(f"`{name}`: its lists do not add up")
            columns[name] = Lists(view[spread(values + first, counts)], counts)
        return columns

    def views(self, batch: int) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """Per column of one batch: (values, offsets) of a list column, (values, None) of a plain one."""
        rows = int(self.starts[batch + 1] - self.starts[batch])
        found = {}
        for name in self.names:
            view, places = self._view[name], self._places[name]
            first, room = int(places.values[batch]), int(places.room[batch])
            at = None if places.offsets is None else int(places.offsets[batch])
            found[name] = (view[first : first + room], None if at is None else self._offsets[at : at + rows + 1])
        return found

    def whole(self, name: str) -> np.ndarray:
        """All rows of a plain column: as many bytes as it has on disk."""
        view, places = self._view[name], self._places[name]
        parts = [view[at : at + room] for at, room in zip(places.values.tolist(), places.room.tolist(), strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _view(buffer: pa.Buffer, dtype: np.dtype[Any]) -> np.ndarray:
    """The whole file as numbers of this type."""
    return np.frombuffer(buffer, dtype, buffer.size // dtype.itemsize)


def _places(column: pa.Array, buffer: pa.Buffer) -> tuple[int, int, int]:
    if column.null_count or column.offset:
        raise ValueError("a column with nulls")
    buffers = column.buffers()
    if not pa.types.is_list(column.type):
        return _at(buffers[1], column.type.bit_width // 8, buffer), len(column), 0
    values = column.values
    if values.null_count or values.offset:
        raise ValueError("a column with nulls")
    return _at(buffers[3], values.type.bit_width // 8, buffer), len(values), _at(buffers[1], 4, buffer)


def _at(part: pa.Buffer | None, width: int, whole: pa.Buffer) -> int:
    """Where a buffer lies in the file, counted in its own numbers of `width` bytes."""
    if part is None or not part.size:
        return 0
    place, rest = divmod(part.address - whole.address, width)
    if rest or place < 0 or place * width + part.size > whole.size:
        raise ValueError("its columns are compressed or not aligned")
    return place
