"""Helpers of the tests on source files: write them, read them, expect an error of one line."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from common.task_table import TASKS
from data_prep.convert import Dropped
from data_prep.examples import validate
from data_prep.sources.folders import Folder
from data_prep.sources.locate import DATASETS, locate

QQP = TASKS["qqp"].labels


def read(parts, labels=()):
    """All examples of some parts, validated; the reason where a row is dropped."""
    examples = []
    for part in parts:
        for where, row in part.rows():
            try:
                example = part.convert(row, where, labels or ())
                validate(example, where, len(labels) if labels else None)
            except Dropped as reason:
                examples.append(str(reason))
            else:
                examples.append(example)
    return examples


def find(name: str, folder: Path):
    return locate(DATASETS[name], [Folder.open(folder)])


def fails(call, *parts: str) -> str:
    """The one-line message of the InputError that `call` raises, which must hold all `parts`."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
    return message


def write_jsonl(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_tsv(path: Path, *rows: list[str], end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join("\t".join(row) + end for row in rows).encode())
    return path


def write_parquet(
    folder: Path, split: str, columns: dict, names: dict[str, list[str]] | None = None, shard="00000-of-00001"
):
    """A file in the Hub's layout; `names` are ClassLabel names, recorded as `datasets` records them."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if names:
        features = {column: {"names": labels, "_type": "ClassLabel"} for column, labels in names.items()}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = folder / f"{split}-{shard}.parquet"
    pq.write_table(table, path)
    return path


def nli(labels, n=None):
    n = n or len(labels)
    return {"premise": [f"p{i}" for i in range(n)], "hypothesis": [f"h{i}" for i in range(n)], "label": labels}
