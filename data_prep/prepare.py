"""Builds one prepared folder: locate, read, validate, encode, write, rename.

Examples are cut into shards of SHARD in reading order and written in that order (`workers.py` encodes them), so the
files have the same bytes whatever the number of workers. A file lock per dataset makes a second `data_prep` wait for
the first; the kernel releases it when its holder dies, so temporary folders found under the lock are leftovers.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from common.errors import InputError
from common.fields import EmptyText
from data_prep.datasets import SHA256
from data_prep.datasets.schema import Dropped
from data_prep.encoding import token_ids
from data_prep.sources.locate import Located, Part
from data_prep.storage import manifest as manifests
from data_prep.storage import store
from data_prep.workers import Encoder, Job
from tasks.base import Example, TaskType
from tasks.encoding import ENCODING_VERSION
from tasks.mlm.data import MLM_PROBABILITY
from tasks.registry import TASK_TYPES
from tasks.span.data import QUESTION_TOKENS, STRIDE

SHARD = 1024


@dataclass(slots=True)
class Tally:
    """What one split holds."""

    rows: int = 0
    examples: int = 0
    tokens: int = 0
    units: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    truncated: Counter[str] = field(default_factory=Counter)
    unknown_labels: int = 0
    lengths: Counter[int] = field(default_factory=Counter)


def prepare(job: Job, located: Located, out: Path, encoder: Encoder) -> tuple[store.Prepared, bool]:
    """The prepared folder of `job` below `out`, and whether it was built now (False: reused).

    Raises `InputError` for bad input; nothing with the folder's final name is left behind then.
    """
    limit = encoder.tokenizer.model_max_length
    for name, length in (("max_length", job.max_length), ("query_length", job.query_length or job.max_length)):
        if length > limit:
            raise InputError(f"dataset {job.dataset}: {name} {length} is more than the tokenizer's {limit}")
    for path in (str(out), located.origin, *(part.name for part in (*located.train, *located.dev))):
        try:
            path.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{path}: the name is not valid UTF-8, so the manifest cannot hold it; rename it"
            ) from None
    home = out / job.dataset
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / ".lock").touch()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from None
    with _lock(home), _disk(home):
        for leftover in home.glob(".tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        sources = _hashes(job, located)
        key = store.encoding_key(
            job.dataset, job.kind, job.labels, job.max_length, encoder.fingerprint, job.query_length
        )
        # The origin is not part of the name: the same files elsewhere are the same input.
        inputs = [[sources[part.name] for part in parts] for parts in (located.train, located.dev)]
        final = home / f"{key}-{store.short_hash([inputs, located.known])}"
        if final.exists():
            try:
                found = store.Prepared(final)
                found.verify()
                os.utime(final / store.MANIFEST)
                return found, False
            except InputError as error:
                print(f"{error} - preparing it again", file=sys.stderr)
                shutil.rmtree(final)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=home))
        try:
            manifest = _build(job, located, encoder, temporary)
            manifest["source"] = {"from": located.origin, "files": sources, "differs": _differing(located, sources)}
            manifest["licence"] = located.licence
            manifest["fingerprint"] = store.short_hash([key, sources, manifest["files"]])
            _finish(temporary, manifest)
            temporary.rename(final)
            _sync(home)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return store.Prepared(final), True


def _build(job: Job, located: Located, encoder: Encoder, folder: Path) -> dict[str, Any]:
    """Writes the Arrow files of both splits; returns the manifest but for what concerns the source."""
    labels = job.labels
    task_type = TASK_TYPES[job.kind]
    if task_type.labels == "optional" and labels is None:
        found: set[str] = set()
        for example in _examples(job, located, "train", Tally()):
            found.update(task_type.labels_in(example))
        labels = tuple(sorted(found))
    splits = {}
    vocabulary = len(encoder.tokenizer)
    seen = np.zeros(vocabulary, bool)
    for split in store.SPLITS:
        tally = Tally()
        gold: list[dict[str, Any]] | None = [] if split == "dev" and task_type.gold is not None else None
        examples = _seen(_examples(job, located, split, tally), task_type, labels, tally, gold)
        total = _total(located.train if split == "train" else located.dev)
        with tqdm(desc=f"{job.dataset} {split}", total=total, unit=" examples", file=sys.stderr) as bar:
            _write_split(job, labels, split, examples, tally, encoder, folder, bar)
            bar.update(sum(tally.dropped.values()))
        if tally.rows == 0:
            dropped = ", ".join(f"{n} {reason}" for reason, n in tally.dropped.items())
            why = f" (dropped: {dropped})" if dropped else ""
            raise InputError(f"dataset {job.dataset}: no {split} examples in {located.origin}{why}")
        if gold is not None:
            batch = pa.RecordBatch.from_pylist(gold, schema=task_type.gold)
            store.write_table(folder / store.EXAMPLES, [batch], task_type.gold)
        file = f"{split}.arrow"
        try:
            seen |= token_ids.used(store.Split(folder / file).token_columns(), vocabulary)
        except ValueError as error:
            raise InputError(f"dataset {job.dataset}: the tokenizer contradicts itself ({error})") from None
        splits[split] = {
            "rows": tally.rows, "examples": tally.examples, "tokens": tally.tokens, "units": tally.units,
            "dropped": dict(sorted(tally.dropped.items())), "truncated": dict(sorted(tally.truncated.items())),
            "unknown_labels": tally.unknown_labels,
            "length_histogram": _histogram(tally.lengths), "file": file, "sha256": store.file_sha256(folder / file),
        }  # fmt: skip
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": store.file_sha256(path)}
        for path in sorted(folder.iterdir())
    }
    return {
        "dataset": job.dataset, "kind": job.kind, "labels": list(labels) if labels is not None else None,
        "language": job.language, "max_length": job.max_length,
        "query_length": next(iter(task_type.encoding_parts(job.max_length, job.query_length)), None),
        "tokenizer": encoder.fingerprint, "splits": splits,
        "files": files, "encoding": {
            "version": ENCODING_VERSION, "question_tokens": QUESTION_TOKENS, "stride": STRIDE,
            "mlm_probability": MLM_PROBABILITY,
        },
        "token_ids": token_ids.to_text(seen),
    }  # fmt: skip


def _examples(job: Job, located: Located, split: str, tally: Tally) -> Iterator[Example]:
    """Validated examples of a split; drops are counted in `tally.dropped`."""
    parts = located.train if split == "train" else located.dev
    task_type = TASK_TYPES[job.kind]
    for part in parts:
        none_yet = True
        for where, row in part.rows():
            none_yet = False
            try:
                example = part.convert(row, where, job.labels or ())
                task_type.validate(example, where, job.labels)
            except Dropped as reason:
                tally.dropped[str(reason)] += 1
            except EmptyText:
                # The public datasets have a few such rows; in a user's own file it is a mistake.
                if not located.known:
                    raise
                tally.dropped["empty text"] += 1
            else:
                yield example
        if none_yet and len(parts) > 1:
            raise InputError(f"dataset {job.dataset}: {part.name}: no rows in it; copy or download it again")


def _seen(
    examples: Iterator[Example],
    task_type: TaskType[Any],
    labels: tuple[str, ...] | None,
    tally: Tally,
    gold: list[dict[str, Any]] | None,
) -> Iterator[Example]:
    """Passes examples on, counts them and their unknown labels, and collects in `gold` what dev scoring needs."""
    known = set(labels or ())
    for example in examples:
        if gold is not None:
            gold.append({"example": tally.examples, **task_type.gold_record(example)})
        tally.unknown_labels += sum(label not in known for label in task_type.labels_in(example))
        tally.examples += 1
        yield example


def _write_split(
    job: Job,
    labels: tuple[str, ...] | None,
    split: str,
    examples: Iterator[Example],
    tally: Tally,
    encoder: Encoder,
    folder: Path,
    bar: "tqdm[Any]",
) -> None:
    columns = store.schema(job.kind, split)

    def shards() -> Iterator[tuple[Any, ...]]:
        first = 0
        while shard := list(islice(examples, SHARD)):
            yield job, labels, split, first, shard
            first += len(shard)

    def batches() -> Iterator[pa.RecordBatch]:
        for data, truncated in encoder.map(shards()):
            batch = pa.ipc.open_stream(data).read_next_batch()
            tally.truncated.update(truncated)
            tally.rows += batch.num_rows
            lengths = batch.column("length").to_numpy()
            tally.tokens += int(lengths.sum())
            tally.units += int(batch.column("units").to_numpy().sum())
            tally.lengths.update(lengths.tolist())
            numbers = batch.column("example").to_numpy()
            with_rows.append(len(np.unique(numbers)))
            bar.update(int(numbers[-1]) + 1 - bar.n if len(numbers) else 0)
            yield batch

    with_rows: list[int] = []
    store.write_table(folder / f"{split}.arrow", batches(), columns)
    without = tally.examples - sum(with_rows)
    if without:
        tally.dropped["no token left by the tokenizer"] += without


def _total(parts: list[Part]) -> int | None:
    """Rows to read, where it is cheap to know."""
    totals = [part.total for part in parts]
    return None if None in totals else sum(total or 0 for total in totals)


def _hashes(job: Job, located: Located) -> dict[str, str]:
    """Part name -> sha256 of its file, of both splits."""
    hashes = {}
    parts = [*located.train, *located.dev]
    for part in tqdm(parts, desc=f"{job.dataset}: sha256", unit=" files", leave=False, file=sys.stderr):
        found = [store.file_sha256(file) for file in part.files]
        hashes[part.name] = found[0] if len(found) == 1 else store.short_hash(found)
    return hashes


def _differing(located: Located, sources: dict[str, str]) -> list[str]:
    """The files whose sha256 is known from their publishers, and is another one here."""
    known = {name: SHA256.get(name.rpartition("/")[2]) for name in sources} if located.known else {}
    return [name for name, published in known.items() if published not in (None, sources[name])]


def _histogram(lengths: Counter[int]) -> dict[str, int]:
    """Rows by length, in bins of powers of two: {"<=16": ..., "<=32": ...}."""
    bins: Counter[int] = Counter()
    for length, rows in lengths.items():
        bins[1 << (length - 1).bit_length()] += rows
    return {f"<={edge}": bins[edge] for edge in sorted(bins)}


def _finish(folder: Path, manifest: dict[str, Any]) -> None:
    """Puts everything on the disk, the manifest last."""
    for path in folder.iterdir():
        _sync(path)
    manifest["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    manifest["sha256"] = manifests.checksum(manifest)
    path = folder / store.MANIFEST
    path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _disk(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{home}: cannot be written ({error.strerror or error})") from None


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Only one process at a time prepares a dataset in this folder."""
    with (home / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{home}: another data_prep is at work there; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
