"""One split of a prepared folder: columns of a memory-mapped Arrow file for many rows at once.

    split = Split(path, schema)
    split.gather(rows, ["length", "input_ids"])      # {"length": int32 [rows], "input_ids": Lists(values, counts)}

A file holds many record batches, each with its own buffers. Kept is only where in the file each buffer begins (24 bytes
for 1024 rows and column), and one view of the whole file as numbers is indexed: a row costs the same in a file of any
size. pyarrow's own `take` copies the whole column first, `datasets` loops over rows: 27 and 14 times the CPU time for
2,048 of 1.5 million rows, and both follow offsets out of a file that was altered. Trade-off: buffers must be aligned
and uncompressed, as the writer of `store.py` leaves them.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from common.columns import Columns, Lists, rows_of, spread
from common.errors import InputError, reason

# Where a column lies: the whole file as its numbers; and, int64 [batches] each, counted in these numbers, where its
# values begin, how many they are, and where the offsets of its lists begin (None: a plain column).
_Column = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]


class Split:
    """One memory-mapped split. `rows`: number of rows; `columns`: names. Opening reads no rows."""

    def __init__(self, path: Path, columns: pa.Schema) -> None:
        """Maps the file; `InputError` if it is not one, or has other columns than `columns`."""
        self.path, self.columns = path, columns.names
        try:
            with pa.memory_map(str(path)) as source:
                self._buffer = source.read_buffer()
            reader = pa.ipc.open_file(self._buffer)
            if not reader.schema.equals(columns):
                raise ValueError(f"columns {', '.join(reader.schema.names)}; expected {', '.join(columns.names)}")
            batches = [batch for n in range(reader.num_record_batches) if (batch := reader.get_batch(n)).num_rows]
            for batch in batches:
                batch.validate()  # the buffers are as long as the rows need
            self._columns = {
                field.name: self._locate(field.type, [batch.column(field.name) for batch in batches])
                for field in columns
            }
        except (OSError, ValueError, pa.ArrowException) as error:
            what = f"{path}: not a prepared file ({reason(error)})"
            raise InputError(f"{what}; delete its folder and prepare again") from None
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])  # the first row of each batch
        self.rows = int(self._starts[-1])

    def _locate(self, type_: pa.DataType, arrays: list[pa.Array]) -> _Column:
        lists = pa.types.is_list(type_)
        dtype = np.dtype((type_.value_type if lists else type_).to_pandas_dtype())
        width = dtype.itemsize
        whole = np.frombuffer(self._buffer, dtype, len(self._buffer) // width)

        def begins(parts: list[pa.Array]) -> np.ndarray:
            """int64 [batches]; `to_numpy` copies nothing, and refuses nulls."""
            found = []
            for part in parts:
                address = part.to_numpy().__array_interface__["data"][0] if len(part) else self._buffer.address
                at, rest = divmod(address - self._buffer.address, width)
                if rest or at < 0 or at + len(part) > len(whole):
                    raise ValueError("its columns are compressed or not aligned")
                found.append(at)
            return np.array(found, np.int64)

        values = [array.values for array in arrays] if lists else arrays
        sizes = np.array([len(part) for part in values], np.int64)
        return whole, begins(values), sizes, begins([array.offsets for array in arrays]) if lists else None

    def whole(self, name: str) -> np.ndarray:
        """A plain column of all rows, copied into memory: int32 `length`, `example` (ascending), ...; int64 keys."""
        return pa.ipc.open_file(self._buffer).read_all().column(name).to_numpy()

    def gather(self, rows: Sequence[int] | np.ndarray, names: Iterable[str]) -> Columns:
        """Some columns of the rows with these numbers, in this order. O(rows), without a loop over them.

        `ValueError` where lists do not add up (the file was altered), `IndexError` for a row that is not there.
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= self.rows):
            raise IndexError(f"{self.path}: rows {rows.min()} to {rows.max()} of {self.rows}")
        batch = np.searchsorted(self._starts, rows, side="right") - 1
        inside = rows - self._starts[batch]
        found: Columns = {}
        for name in names:
            file, values, sizes, offsets = self._columns[name]
            start = values[batch]
            if offsets is None:
                found[name] = file[start + inside]
                continue
            at = offsets[batch] + inside
            first, last = file[at].astype(np.int64), file[at + 1].astype(np.int64)
            if np.any(first < 0) or np.any(last < first) or np.any(last > sizes[batch]):
                raise ValueError(f"`{name}`: its lists do not add up")
            found[name] = Lists(file[spread(start + first, last - first)], last - first)
        return found

    def take(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """The rows with these numbers, in this order: int32 arrays for lists, ints for the rest."""
        return rows_of(self.gather(rows, self.columns))
