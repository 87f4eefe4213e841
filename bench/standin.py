"""Prepared folders of any size without preparing them: the nine tasks as random tokens of the true lengths.

    config = make(Path("work"), rows=10_000_000, ...)

For each task one record batch of 1024 rows is made and written again and again, so that ten million rows take a minute;
a manifest is put beside it as data_prep would. What reads the folder is the product and sees nothing unusual.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.virtual import Virtual, tasks
from data_prep.encoding import tokenizer as tokenizers
from data_prep.prepare import SHARD, _finish, _histogram
from data_prep.storage import store
from examples.toyworld.tokenizer import write_tokenizer
from tasks.encoding import ENCODING_VERSION

CLASSES = {"classify": 3, "tag": 40}


def make(folder: Path, rows: int, **settings: Any) -> Path:
    """Writes about `rows` training rows of the nine tasks; the path of a run config over them, with `settings`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(["a few words are enough here, as every token is drawn at random"], folder / "tokenizer")
    tokenizer = tokenizers.load(folder / "tokenizer")
    fingerprint = tokenizers.fingerprint(tokenizer)
    published = tasks()
    entries = []
    for task, true in zip(tasks(rows), published, strict=True):
        kind, name = task.task.kind, f"bench_{task.name}"
        labels = tuple(f"c{n}" for n in range(CLASSES[kind])) if kind in CLASSES else None
        files = []
        for split in store.SPLITS:
            files.append(folder / f"{name}.{split}.jsonl")
            files[-1].write_text("{}\n")
        entry: dict[str, Any] = {"name": name, "kind": kind, "share": float(min(len(true.train), 2**17))}
        entry |= {split: str(file) for split, file in zip(store.SPLITS, files, strict=True)}
        entries.append(entry | ({"labels": list(labels)} if labels else {}))
        key = store.encoding_key(name, kind, labels, 256, fingerprint, None)
        place = folder / "data" / name / f"{key}-standin"
        place.mkdir(parents=True)
        splits = {}
        for split, count in (("train", len(task.train)), ("dev", 16)):
            splits[split] = _write(place / f"{split}.arrow", task, split, count, len(tokenizer))
        if kind == "span":
            gold = [{"example": n, "id": str(n), "context": "a", "answers": ["a"]} for n in range(16)]
            table = pa.RecordBatch.from_pylist(gold, schema=store.EXAMPLES_SCHEMA)
            store.write_table(place / store.EXAMPLES, [table], store.EXAMPLES_SCHEMA)
        sums = {path.name: store.file_sha256(path) for path in place.iterdir()}
        _finish(place, {
            "dataset": name, "kind": kind, "labels": list(labels) if labels else None, "splits": splits,
            "files": {name: {"bytes": (place / name).stat().st_size, "sha256": sum} for name, sum in sums.items()},
            "source": {"files": {str(file): store.file_sha256(file) for file in files}, "differs": []},
            "licence": "none", "encoding": {"version": ENCODING_VERSION},
        })  # fmt: skip
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    values = {
        "name": "bench", "output": str(folder / "runs"), "data": str(folder / "data"), "tasks": entries,
        "encoder": {"config": {**shape, "max_position_embeddings": 514}, "tokenizer": str(folder / "tokenizer")},
        "mixture": {"kind": "fixed", "batches": "mixed"}, "max_length": 256, "micro_tokens": 16384, "steps": 1000,
        "deepspeed": "zero2_cpu.json", **settings,
    }  # fmt: skip
    path = folder / "run.json"
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
    return path


def _write(path: Path, task: Virtual, split: str, count: int, vocabulary: int) -> dict[str, Any]:
    """One Arrow file of `count` rows; its part of the manifest."""
    generator = np.random.default_rng(len(task.name))
    kind = task.task.kind
    columns = store.schema(kind, split)
    numbers = generator.integers(0, len(task.train), size=SHARD)
    rows = [_row(kind, lengths, number, vocabulary, generator) for number, lengths in enumerate(task.lengths(numbers))]
    whole, last = divmod(count, SHARD)
    full, part = store.to_batch(rows, columns), store.to_batch(rows[:last], columns)
    store.write_table(path, (full if n < whole else part for n in range(whole + (last > 0))), columns)
    length = np.array([row["length"] for row in rows])
    bins, rest = _histogram(Counter(length.tolist())), _histogram(Counter(length[:last].tolist()))
    histogram = {edge: whole * number + rest.get(edge, 0) for edge, number in bins.items() if whole or edge in rest}
    return {
        "rows": count, "examples": count, "tokens": int(whole * length.sum() + length[:last].sum()), "units": count,
        "dropped": {}, "truncated": {}, "unknown_labels": 0,
        "length_histogram": histogram,
    }  # fmt: skip


def _row(kind: str, lengths: list[int], number: int, vocabulary: int, generator: np.random.Generator) -> dict[str, Any]:
    total = sum(lengths)
    row: dict[str, Any] = {
        "input_ids": generator.integers(4, vocabulary - 1, size=total).astype(np.int32),
        "lengths": np.array(lengths, np.int32), "length": total, "units": 1, "example": number,
    }  # fmt: skip
    if kind in ("classify", "choice"):
        row["label"] = int(generator.integers(CLASSES.get(kind, len(lengths))))
    elif kind == "span":
        row |= {"start": 1, "end": 2, "offset_start": np.zeros(total, np.int32), "offset_end": np.ones(total, np.int32)}
    else:
        words = np.arange(1, total - 1, dtype=np.int32)
        row |= {"positions": words, "labels": words % CLASSES[kind], "units": len(words)}
    return row
