"""Builds one prepared folder: locate, read, validate, encode, write, rename.

Examples are cut into shards of SHARD in reading order and written in that order (`workers.py` encodes them), so the
files have the same bytes whatever the number of workers. A file lock per dataset makes a second `data_prep` wait for
the first; the kernel releases it when its holder dies, so temporary folders found under the lock are leftovers.
"""

import base64
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from common import files
from common.errors import InputError, loading, writing
from common.fields import EmptyText
from data_prep.datasets import SHA256
from data_prep.datasets.schema import Dropped
from data_prep.overlap import HeldOutRows
from data_prep.sources.licence import licence_of
from data_prep.sources.locate import Located
from data_prep.storage import store
from data_prep.storage.store import Preparation
from data_prep.workers import TokenizerPool
from tasks.base import Example
from tasks.encoding import template_of
from tasks.registry import TASK_TYPES

SHARD = 1024


def prepare(
    job: Preparation, located: Located, out: Path, pool: TokenizerPool, against: HeldOutRows | None = None
) -> tuple[store.Prepared, bool]:
    """The prepared folder of `job` below `out`, and whether it was built now (False: reused).

    against: test rows, which are left out of the training split.
    Raises `InputError` for bad input; nothing with the folder's final name is left behind then.
    """
    limit = pool.tokenizer.model_max_length
    for name, length in (("max_length", job.max_length), ("query_length", job.query_length or job.max_length)):
        if length > limit:
            raise InputError(f"dataset {job.dataset}: {name} {length} is more than the tokenizer's {limit}")
    home = out / job.dataset
    busy = f"{home}: another data_prep is at work there; waiting for it"
    with writing(home), files.lock(home / ".lock", busy, wait=True):
        for leftover in home.glob(".writing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        sources = _hashes(job, located)
        # The origin is not part of the name: the same files elsewhere are the same input.
        inputs = [[sources[part.name] for part in parts] for parts in (located.train, located.dev)]
        of_input = store.short_hash([inputs, located.known, *([against.digest] if against else [])])
        final = home / f"{job.key(pool.fingerprint)}-{of_input}"
        if final.exists():
            try:
                found = store.Prepared(final)
                found.verify()
                os.utime(final / store.MANIFEST)
                return found, False
            except InputError as error:
                print(f"{error} - preparing it again", file=sys.stderr)
                shutil.rmtree(final)
        with files.replacing(final) as temporary:
            manifest = _build(job, located, pool, temporary, against)
            if against:
                manifest["against"] = list(against.targets)
            published = {name: SHA256.get(name.rpartition("/")[2]) for name in sources} if located.known else {}
            differs = [name for name, known in published.items() if known not in (None, sources[name])]
            manifest["source"] = {"from": located.origin, "files": sources, "differs": differs}
            read = (path for part in (*located.train, *located.dev) for path in part.files)
            manifest["licence"] = licence_of(read, located.licence)
            manifest["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            for file in temporary.iterdir():
                files.fsync(file)
            store.write_manifest(temporary, manifest)
        files.fsync(home)
    return store.Prepared(final), True


def _build(
    job: Preparation, located: Located, pool: TokenizerPool, folder: Path, against: HeldOutRows | None
) -> dict[str, Any]:
    """Writes the Arrow files of both splits; returns the manifest but for what concerns the source."""
    labels = job.labels
    task_type = TASK_TYPES[job.kind]
    if task_type.labels == "optional" and labels is None:
        found: set[str] = set()
        for example in read_examples(job, located, "train", Counter()):
            found.update(task_type.labels_in(example))
        labels = tuple(sorted(found))
    seen = np.zeros(len(pool.tokenizer), bool)
    splits = {name: _write_split(job, labels, located, pool, folder, name, seen, against) for name in store.SPLITS}
    written = {path.name: {"sha256": files.file_sha256(path)} for path in sorted(folder.iterdir())}
    # Without the zeros at the end: 31 KB for XLM-R's 250,002 ids. Marked where rows are written: a run starts as
    # fast on ten million rows as on ten, also from a data folder that it may only read.
    bits = base64.b64encode(np.packbits(seen).tobytes().rstrip(b"\0")).decode()
    return {
        "dataset": job.dataset, "kind": job.kind, "labels": list(labels) if labels is not None else None,
        "language": job.language, "max_length": job.max_length,
        "query_length": next(iter(task_type.encoding_parts(job.max_length, job.query_length)), None),
        "tokenizer": pool.fingerprint, "splits": splits,
        "files": written, "token_ids": bits,
        **({"token_types": True} if template_of(pool.tokenizer).typed else {}),
    }  # fmt: skip


def _write_split(
    job: Preparation,
    labels: tuple[str, ...] | None,
    located: Located,
    pool: TokenizerPool,
    folder: Path,
    split: str,
    seen: np.ndarray,
    against: HeldOutRows | None,
) -> dict[str, Any]:
    """Writes one split; returns what the manifest says of it. `seen`: bool [vocabulary], marks the ids in its rows."""
    task_type, known = TASK_TYPES[job.kind], set(labels or ())
    total: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    truncated: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    gold: list[dict[str, Any]] = []
    ids: list[str] = []

    def examples() -> Iterator[Example]:
        for example in read_examples(job, located, split, dropped):
            if split == "train" and against is not None and (reason := against.overlap(task_type, example)):
                dropped[reason] += 1
                continue
            if split == "dev" and task_type.gold is not None:
                gold.append({"example": total["examples"], **task_type.gold_record(example)})
            if split == "train" and task_type.dynamics:
                ids.append(task_type.row_id(example))
            total["unknown labels"] += sum(label not in known for label in task_type.labels_in(example))
            total["examples"] += 1
            yield example

    def shards() -> Iterator[tuple[Any, ...]]:
        source, first = examples(), 0
        while shard := list(islice(source, SHARD)):
            yield replace(job, labels=labels), split, first, shard
            first += len(shard)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch, cut in pool.map(shards()):
            truncated.update(cut)
            lengths.update(batch.column("length").to_pylist())
            total["units"] += int(batch.column("units").to_numpy().sum())
            ids, numbers = batch.column("input_ids").values.to_numpy(), batch.column("example").to_numpy()
            if ids.max(initial=0) >= len(seen):
                raise InputError(f"dataset {job.dataset}: the tokenizer gave an id outside its {len(seen)} tokens")
            seen[ids] = True
            total["with rows"] += len(np.unique(numbers))
            bar.update(int(numbers[-1]) + 1 - bar.n if len(numbers) else 0)
            yield batch

    rows_to_read = [part.total for part in (located.train if split == "train" else located.dev)]
    expected = None if None in rows_to_read else sum(rows or 0 for rows in rows_to_read)
    with tqdm(desc=f"{job.dataset} {split}", total=expected, unit=" examples", file=sys.stderr) as bar:
        columns = store.schema(job.kind, split, template_of(pool.tokenizer).typed)
        store.write_table(folder / f"{split}.arrow", batches(), columns)
        if without := total["examples"] - total["with rows"]:
            dropped["no token left by the tokenizer"] += without
        bar.update(sum(dropped.values()))
    if not lengths:
        why = f" (dropped: {', '.join(f'{n} {reason}' for reason, n in dropped.items())})" if dropped else ""
        raise InputError(f"dataset {job.dataset}: no {split} examples in {located.origin}{why}")
    if gold:
        store.write_table(folder / store.EXAMPLES, [pa.RecordBatch.from_pylist(gold, task_type.gold)], task_type.gold)
    if ids:
        named = pa.RecordBatch.from_pydict({"id": ids})
        store.write_table(folder / store.IDS, [named], named.schema)
    return {
        "rows": lengths.total(), "examples": total["examples"], "units": total["units"],
        "tokens": sum(length * rows for length, rows in lengths.items()),
        "dropped": dict(sorted(dropped.items())), "truncated": dict(sorted(truncated.items())),
        "unknown_labels": total["unknown labels"], "length_histogram": _histogram(lengths),
    }  # fmt: skip


def read_examples(job: Preparation, located: Located, split: str, dropped: Counter[str]) -> Iterator[Example]:
    """Validated examples of a split; those left out are counted in `dropped`."""
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
                dropped[str(reason)] += 1
            except EmptyText:
                # The public datasets have a few such rows; in a user's own file it is a mistake.
                if not located.known:
                    raise
                dropped["empty text"] += 1
            else:
                yield example
        if none_yet and len(parts) > 1:
            raise InputError(f"dataset {job.dataset}: {part.name}: no rows in it; copy or download it again")


def _hashes(job: Preparation, located: Located) -> dict[str, str]:
    """Part name -> sha256 of its file, of both splits."""
    hashes = {}
    parts = {part.name: part for part in (*located.train, *located.dev)}  # both splits may be of one file
    for part in tqdm(parts.values(), desc=f"{job.dataset}: sha256", unit=" files", leave=False, file=sys.stderr):
        with loading(part.name, "links into a cache of the Hub need what they link to: copy it with cp -rL"):
            found = [files.file_sha256(file) for file in part.files]
        hashes[part.name] = found[0] if len(found) == 1 else store.short_hash(found)
    return hashes


def _histogram(lengths: Counter[int]) -> dict[str, int]:
    """Rows by length, in bins of powers of two: {"<=16": ..., "<=32": ...}."""
    bins: Counter[int] = Counter()
    for length, rows in lengths.items():
        bins[1 << (length - 1).bit_length()] += rows
    return {f"<={edge}": bins[edge] for edge in sorted(bins)}
