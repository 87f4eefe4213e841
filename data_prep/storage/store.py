"""Prepared folders: token ids and labels on disk, read without copying.

    data/NAME/<key>-<inputs>/     NAME: the dataset; key: `Preparation.key`; inputs: a fingerprint of the source files
        train.arrow dev.arrow     one row per sequence (or window, or part of a sentence), see `tasks/encoding.py`
        dev_examples.arrow        span only: id, context, answers of each dev example
        train_ids.arrow           `TaskType.row_id` of each training example, of types with `dynamics`
        manifest.json             written last; the folder gets its name after that, by one rename
        .verified.json            see `Prepared.confirm`

A folder with this name is therefore always complete. Arrow's IPC file format is memory-mapped: opening costs
milliseconds whatever the size, `Split.take` hands out views into the mapped file, and processes share the pages.
"""

import base64
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from common import files, jsontext
from common.errors import InputError
from common.files import file_sha256
from data_prep.storage.arrow_file import Split
from tasks.encoding import ENCODING_VERSION, INT, INTS
from tasks.registry import TASK_TYPES
from tasks.span.data import QUESTION_TOKENS, STRIDE

MANIFEST = "manifest.json"
EXAMPLES = "dev_examples.arrow"
IDS = "train_ids.arrow"
VERIFIED = ".verified.json"  # what `Prepared.confirm` notes
# The clock of files may stand still for so long: a file changed just before the note may have been changed after it.
_TICK_NS = 50_000_000
SPLITS = ("train", "dev")

_COMMON = [("input_ids", INTS), ("lengths", INTS), ("length", INT), ("units", INT), ("example", INT)]


def schema(kind: str, split: str, typed: bool = False) -> pa.Schema:
    """Columns of `split` of a dataset of this task type; `typed`: see `tasks.encoding.Template`."""
    task_type = TASK_TYPES[kind]
    types = [("second", INTS)] if typed else []
    columns = (*_COMMON, *types, *task_type.columns, *(task_type.dev_columns if split == "dev" else ()))
    return pa.schema([pa.field(name, type_, nullable=False) for name, type_ in columns])


@dataclass(frozen=True, slots=True)
class Preparation:
    """One dataset to prepare for one length. `labels` as in the task (None: none, or from the data).

    `query_length`: of a `pair` task, whose `max_length` is its passages' (None: the same).
    """

    dataset: str
    kind: str
    labels: tuple[str, ...] | None
    language: str
    max_length: int
    query_length: int | None = None

    def key(self, tokenizer_fingerprint: str) -> str:
        """Names a way of encoding: 12 hex digits that change with anything that changes the rows, but for the input."""
        parts: list[Any] = [self.dataset, self.kind, self.labels, self.max_length, tokenizer_fingerprint]
        parts += TASK_TYPES[self.kind].encoding_parts(self.max_length, self.query_length)
        return short_hash([*parts, ENCODING_VERSION, QUESTION_TOKENS, STRIDE])


def short_hash(values: Any) -> str:
    """12 hex digits of the sha256 of `values` as JSON."""
    return files.json_sha256(values)[:12]


class NotPrepared(InputError):
    """There is no prepared folder of a dataset: `python -m data_prep` makes it."""


class Prepared:
    """One prepared folder. `labels` are the label names in id order (classify, tag), else None."""

    def __init__(self, path: Path) -> None:
        """Opens the folder; `InputError` if it is not one. What is in its files is for `verify` to see."""
        self.path = path
        self.manifest = _read_manifest(path)
        self.labels: tuple[str, ...] | None = tuple(self.manifest["labels"] or ()) or None
        kind, typed = self.manifest["kind"], self.manifest.get("token_types", False)
        self.train, self.dev = (Split(path / f"{split}.arrow", schema(kind, split, typed)) for split in SPLITS)

    def verify(self) -> None:
        """Reads every byte: `InputError` if a file is not the one that was written."""
        for name, info in self.manifest["files"].items():
            try:
                found = file_sha256(self.path / name)
            except OSError as error:
                raise InputError(f"{self.path / name}: {error.strerror}; delete the folder and prepare again") from None
            if found != info["sha256"]:
                raise InputError(f"{self.path / name}: altered since it was written (its sha256 differs)")

    def confirm(self) -> None:
        """`verify`, unless the files are as they were when that was last done; for every start of a run.

        Noted is [bytes, mtime, ctime, inode, sha256] of each file as it was *before* it was read; where that cannot be
        written, the next start reads again. Whoever writes to a file changes its ctime, which no program can set back,
        so an altered, replaced or copied file is read again. Trade-off: bits that rot on the disk without a write are
        found by `python -m data_prep`, which always reads everything, not at each start.
        """
        note, now = self.path / VERIFIED, {}
        for name, info in self.manifest["files"].items():
            with suppress(OSError):
                stat = os.stat(self.path / name)
                now[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, info["sha256"]]
        with suppress(OSError, ValueError, RecursionError):
            last = os.stat(note).st_ctime_ns - _TICK_NS
            before = json.loads(note.read_text(encoding="utf-8"))
            if before == now and all(ctime < last for _, _, ctime, _, _ in now.values()):
                return
        self.verify()
        with suppress(OSError):
            files.write_json(note, now)

    def token_ids(self, vocabulary: int) -> np.ndarray:
        """bool [vocabulary]: which ids occur in the rows of both splits, from the manifest.

        Training leaves the rows of the word embeddings out that no token needs (`mtl/model/trimmed_embeddings.py`).
        """
        packed = np.frombuffer(base64.b64decode(self.manifest["token_ids"]), np.uint8)
        return np.unpackbits(packed, count=vocabulary).astype(bool)

    def dev_examples(self) -> list[dict[str, Any]]:
        """What dev scoring needs of each dev example besides its rows (`TaskType.gold`), in order; [] if nothing."""
        if EXAMPLES not in self.manifest["files"]:
            return []
        return _table(self.path / EXAMPLES).to_pylist()


def _table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def row_ids(several: Sequence[Prepared]) -> pa.StringArray:
    """string [rows]: the id of the example of each training row of these folders; `InputError` if one has no ids."""
    found = []
    for prepared in several:
        if IDS not in prepared.manifest["files"]:
            reason = "prepared by an earlier version: delete it and prepare again"
            if not TASK_TYPES[prepared.manifest["kind"]].dynamics:
                reason = f"rows of kind {prepared.manifest['kind']} have none"
            raise InputError(f"{prepared.path}: no ids of its training rows ({reason})")
        found += _table(prepared.path / IDS)["id"].take(pa.array(prepared.train.whole("example"))).chunks
    return pa.concat_arrays(found)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Completes a folder whose files are on the disk: writes `manifest`, and the sha256 of it."""
    files.write_json(folder / MANIFEST, {**manifest, "sha256": files.json_sha256(manifest)})
    files.fsync(folder)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest as it was written. Its own sha256 is the one check: all of its fields are then there, and right."""
    try:
        manifest: dict[str, Any] = jsontext.parse((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest.pop("sha256") != files.json_sha256(manifest) or "token_ids" not in manifest:
            raise ValueError(f"{MANIFEST} was altered since it was written, or is of an earlier version")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{folder}: not a prepared folder ({error}); delete it and prepare again") from None
    return manifest


def find(data: Path, dataset: str, key: str, command: str, sources: Sequence[Path] = ()) -> Prepared:
    """The folder of `dataset` encoded as `key` (see `Preparation.key`).

    With `sources` (a task's own files) the one made of just these, as they are now; else the one that was prepared or
    confirmed last. Raises `NotPrepared` if there is none; `command` is what makes it.
    """
    home = Path(data, dataset)
    try:
        there = sorted(home.glob(f"{key}-*/{MANIFEST}"), key=lambda path: path.stat().st_mtime_ns)
        wanted = sorted(file_sha256(path) for path in sources) if there else []
    except OSError as error:
        raise InputError(f"dataset {dataset}: {error.filename}: {error.strerror}; run: {command}") from None
    found = [Prepared(path.parent) for path in there]
    if sources:
        found = [p for p in found if sorted(p.manifest["source"]["files"].values()) == wanted]
    if found:
        return found[-1]
    why = f" from {', '.join(map(str, sources))} as they are now" if there else ""
    if not there and any(home.glob(f"*-*/{MANIFEST}")):
        why = " (only for another tokenizer, length or label set)"
    raise NotPrepared(f"dataset {dataset} is not prepared in {data}{why}; run: {command}")


def write_table(path: Path, batches: Iterable[pa.RecordBatch], columns: pa.Schema) -> None:
    """One Arrow file from batches."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, columns) as writer:
        for batch in batches:
            writer.write_batch(batch)
