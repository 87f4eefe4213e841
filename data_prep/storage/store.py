"""Prepared folders: token ids and labels on disk, read without copying.

    data/NAME/<key>-<inputs>/     NAME: the dataset; key: `encoding_key`; inputs: a fingerprint of the source files
        train.arrow dev.arrow     one row per sequence (or window, or part of a sentence), see `tasks/encoding.py`
        dev_examples.arrow        span only: id, context, answers of each dev example
        manifest.json             written last; the folder gets its name after that, by one rename

A folder with this name is therefore always complete. Arrow's IPC file format is memory-mapped: opening costs
milliseconds whatever the size, `Split.take` hands out views into the mapped file, and processes share the pages.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from common.columns import Columns
from common.errors import InputError
from data_prep.encoding import token_ids as tokenids
from data_prep.storage import manifest as manifests
from data_prep.storage import sound, verified
from data_prep.storage.arrow_file import File
from data_prep.storage.manifest import MANIFEST
from tasks.encoding import ENCODING_VERSION, INT, INTS, Row
from tasks.registry import TASK_TYPES
from tasks.span.data import QUESTION_TOKENS, STRIDE

EXAMPLES = "dev_examples.arrow"
SPLITS = ("train", "dev")

_COMMON = [("input_ids", INTS), ("lengths", INTS), ("length", INT), ("units", INT), ("example", INT)]


def schema(kind: str, split: str) -> pa.Schema:
    """Columns of `split` of a dataset of this task type."""
    task_type = TASK_TYPES[kind]
    columns = (*_COMMON, *task_type.columns, *(task_type.dev_columns if split == "dev" else ()))
    return pa.schema([pa.field(name, type_, nullable=False) for name, type_ in columns])


def to_batch(rows: Sequence[Row], columns: pa.Schema) -> pa.RecordBatch:
    """Encoded rows as one Arrow batch with these columns; others are left out."""
    arrays = []
    for field in columns:
        values = [row[field.name] for row in rows]
        if not pa.types.is_list(field.type):
            arrays.append(pa.array(np.array(values, field.type.to_pandas_dtype())))
        else:
            ends = np.cumsum([0] + [len(v) for v in values], dtype=np.int32)
            flat = np.concatenate(values) if values else np.zeros(0, np.int32)
            flat = flat.astype(np.int32, copy=False)
            arrays.append(pa.ListArray.from_arrays(pa.array(ends), pa.array(flat), type=field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def encoding_key(
    dataset: str,
    kind: str,
    labels: Sequence[str] | None,
    max_length: int,
    tokenizer_fingerprint: str,
    query_length: int | None = None,
) -> str:
    """Names a way of encoding: 12 hex digits that change with anything that changes the rows, but for the input.

    `labels` are those that the task gives (None where it has none or the training data define them), `query_length`
    that of a `pair` task (None: `max_length`).
    """
    parts: list[Any] = [dataset, kind, list(labels) if labels is not None else None, max_length, tokenizer_fingerprint]
    parts += TASK_TYPES[kind].encoding_parts(max_length, query_length)
    return short_hash([*parts, ENCODING_VERSION, QUESTION_TOKENS, STRIDE])


def short_hash(values: Any) -> str:
    """12 hex digits of the sha256 of `values` as JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


class Split:
    """One memory-mapped split. `rows`: number of rows; `columns`: names. Opening reads no rows."""

    def __init__(self, path: Path, columns: pa.Schema | None = None) -> None:
        """Maps the file; `InputError` if it is not one, or has other columns than `columns`."""
        self.path = path
        try:
            with pa.memory_map(str(path)) as source:
                buffer = source.read_buffer()
            reader = pa.ipc.open_file(buffer)
            if columns is not None and not reader.schema.equals(columns):
                raise ValueError(f"columns {', '.join(reader.schema.names)}; expected {', '.join(columns.names)}")
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            for batch in batches:
                batch.validate()  # the buffers are as long as the rows need; what is in them is hashed by `verify`
            self._file = File(buffer, [batch for batch in batches if batch.num_rows], reader.schema)
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{path}: not a prepared file ({reason}); delete its folder and prepare again") from None
        self.columns = self._file.names
        self.rows = int(self._file.starts[-1])

    def whole(self, name: str) -> np.ndarray:
        """A plain column of all rows, for dev sets and checks: it is copied into memory."""
        return self._file.whole(name)

    @property
    def length(self) -> np.ndarray:
        """int32 [rows]: tokens of each row."""
        return self.whole("length")

    @property
    def units(self) -> np.ndarray:
        """int32 [rows]: loss units of each row."""
        return self.whole("units")

    @property
    def example(self) -> np.ndarray:
        """int32 [rows]: source example of each row, ascending."""
        return self.whole("example")

    def __len__(self) -> int:
        return self.rows

    def token_columns(self) -> Iterator[np.ndarray]:
        """The token ids of all rows, int32, a view per batch of the file."""
        for batch in range(len(self._file.starts) - 1):
            values, offsets = self._file.views(batch)["input_ids"]
            assert offsets is not None
            yield values[offsets[0] : offsets[-1]]

    def problem(self, labels: int | None, vocabulary: int | None) -> str | None:
        """What is wrong with the numbers in the columns (see `sound.py`), or None."""
        for batch, rows in enumerate(np.diff(self._file.starts).tolist()):
            found = sound.problem(self._file.views(batch), rows, labels, vocabulary)
            if found is not None:
                return found
        return None

    def gather(self, rows: Sequence[int] | np.ndarray, names: Iterable[str]) -> Columns:
        """Some columns of the rows with these numbers, in this order. O(rows), without a loop over them.

        `ValueError` where lists do not add up (the file was altered), `IndexError` for a row that is not there.
        """
        return self._file.gather(self._within(rows), names)

    def take(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """The rows with these numbers, in this order: read-only int32 views for lists, else numbers. O(rows)."""
        wanted = self._within(rows)
        starts = self._file.starts
        chunks = np.searchsorted(starts, wanted, side="right") - 1
        opened = {chunk: self._file.views(chunk) for chunk in np.unique(chunks).tolist()}
        taken = []
        for chunk, place in zip(chunks.tolist(), (wanted - starts[chunks]).tolist(), strict=True):
            row: dict[str, Any] = {}
            for name, (values, offsets) in opened[chunk].items():
                row[name] = values[place].item() if offsets is None else values[offsets[place] : offsets[place + 1]]
            taken.append(row)
        return taken

    def _within(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        wanted = np.asarray(rows, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self.rows):
            raise IndexError(f"{self.path}: rows {wanted.min()} to {wanted.max()} of {self.rows}")
        return wanted


class Prepared:
    """One prepared folder. `labels` are the label names in id order (classify, tag), else None."""

    def __init__(self, path: Path) -> None:
        """Opens and checks the folder; `InputError` if it is not one, or if a file is missing or has another size."""
        self.path = path
        self.manifest: dict[str, Any] = manifests.read(path)
        kind, labels = self.manifest["kind"], self.manifest["labels"]
        self.labels: tuple[str, ...] | None = tuple(labels) if labels is not None else None
        names = [f"{split}.arrow" for split in SPLITS] + ([EXAMPLES] if TASK_TYPES[kind].gold is not None else [])
        if sorted(self.manifest["files"]) != sorted(names):
            raise InputError(
                f"{path}: not a prepared folder ({MANIFEST} names {', '.join(self.manifest['files'])}; expected"
                f" {', '.join(names)}); delete it and prepare again"
            )
        for name in names:
            file, size = path / name, self.manifest["files"][name]["bytes"]
            found = file.stat().st_size if file.is_file() else None
            if found != size:
                raise InputError(
                    f"{file}: expected {size} bytes, found {found if found is not None else 'no file'};"
                    " delete the folder and prepare again"
                )
        self.train = Split(path / "train.arrow", schema(kind, "train"))
        self.dev = Split(path / "dev.arrow", schema(kind, "dev"))
        for split in (self.train, self.dev):
            counted = self.manifest["splits"][split.path.stem]["rows"]
            if counted != split.rows:
                raise InputError(f"{split.path}: {split.rows} rows, {MANIFEST} counts {counted}; prepare again")

    def verify(self, vocabulary: int | None = None) -> None:
        """Reads every byte: `InputError` if a file is not the one that was written, or holds what cannot be trained on.

        `vocabulary`: the number of tokens, where it is known.
        """
        for name, info in self.manifest["files"].items():
            if file_sha256(self.path / name) != info["sha256"]:
                raise InputError(f"{self.path / name}: altered since it was written (its sha256 differs)")
        for split in (self.train, self.dev):
            wrong = split.problem(len(self.labels) if self.labels is not None else None, vocabulary)
            if wrong is not None:
                raise InputError(f"{split.path}: {wrong}; delete the folder and prepare again")
            counted = self.manifest["splits"][split.path.stem]
            lengths = split.length
            if counted["tokens"] != int(lengths.sum(dtype=np.int64)) or not _fits(lengths, counted["length_histogram"]):
                raise InputError(
                    f"{split.path}: not the tokens that {MANIFEST} counts; delete the folder and prepare again"
                )

    def confirm(self) -> None:
        """`verify`, unless the files are as they were when that was last done; for every start of a run."""
        now = verified.state(self.path, self.manifest["files"])
        if not verified.known(self.path, now):
            self.verify()
            verified.remember(self.path, now)

    def token_ids(self, vocabulary: int) -> np.ndarray:
        """bool [vocabulary]: which ids occur in the rows of both splits.

        From the manifest; a folder without that entry is read once through. `InputError` for ids outside.
        """
        try:
            text = self.manifest.get("token_ids")
            if text is None:
                return tokenids.used((ids for s in (self.train, self.dev) for ids in s.token_columns()), vocabulary)
            found = tokenids.from_text(text)
            if found[vocabulary:].any():
                raise ValueError(f"`token_ids` outside the vocabulary of {vocabulary}")
        except ValueError as error:
            raise InputError(f"{self.path}: not a prepared folder ({error}); delete it and prepare again") from None
        seen = np.zeros(vocabulary, bool)
        seen[: len(found)] = found[:vocabulary]
        return seen

    def dev_examples(self) -> list[dict[str, Any]]:
        """What dev scoring needs of each dev example besides its rows (`TaskType.gold`), in order; [] if nothing."""
        if EXAMPLES not in self.manifest["files"]:
            return []
        with pa.memory_map(str(self.path / EXAMPLES)) as source:
            return pa.ipc.open_file(source).read_all().to_pylist()


def _fits(lengths: np.ndarray, histogram: dict[str, int]) -> bool:
    """Whether no length is beyond the last bin, which is what the trainer reads of the histogram."""
    return int(lengths.max(initial=0)) <= max(int(edge.removeprefix("<=")) for edge in histogram)


def find(data: Path, dataset: str, key: str, command: str, files: Sequence[Path] = ()) -> Prepared:
    """The folder of `dataset` encoded as `key` (see `encoding_key`).

    With `files` (a task's own) the one made of just these, as they are now; else the one that was prepared or
    confirmed last. Raises `InputError` if there is none; `command` is what makes it.
    """
    home = Path(data, dataset)
    try:
        there = [(path.stat().st_mtime_ns, str(path), path) for path in home.glob(f"{key}-*/{MANIFEST}")]
        others = any(home.glob(f"*-*/{MANIFEST}"))
    except OSError as error:
        raise InputError(f"{home}: cannot be read ({error.strerror}); run: {command}") from None
    found = [Prepared(path.parent) for _, _, path in sorted(there)]
    why = ""
    if not found and others:
        why = " (only for another tokenizer, length or label set)"
    if files and found:
        missing = next((path for path in files if not os.path.isfile(path)), None)
        if missing is not None:
            raise InputError(f"dataset {dataset}: {missing}: no such file")
        wanted = sorted(file_sha256(path) for path in files)
        found = [p for p in found if sorted(p.manifest["source"]["files"].values()) == wanted]
        why = f" from {', '.join(map(str, files))} as they are now"
    if not found:
        raise InputError(f"dataset {dataset} is not prepared in {data}{why}; run: {command}")
    return found[-1]


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file; `OSError` for anything else (reading a pipe would wait for ever)."""
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_table(path: Path, batches: Iterable[pa.RecordBatch], columns: pa.Schema) -> None:
    """One Arrow file from batches."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, columns) as writer:
        for batch in batches:
            writer.write_batch(batch)
