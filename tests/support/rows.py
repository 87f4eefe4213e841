"""Source files of every form, the examples that a dataset gives for them, and errors of one line."""

import json
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from data_prep.datasets import DATASETS, TASKS
from data_prep.datasets.schema import Dropped
from data_prep.sources.folders import Folder
from data_prep.sources.locate import locate_training
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.pair.data import Pair
from tasks.registry import TASK_TYPES
from tasks.regress.data import Regress
from tasks.span.data import Span
from tasks.tag.data import Tag


def kind_of(example) -> str:
    """The task type that an example is of: that in whose folder it is defined."""
    return type(example).__module__.split(".")[1]


def fails(call, *parts: str) -> str:
    """The one-line message of the InputError that `call` raises, which must hold all `parts`."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
    return message


def write(path: Path, content, names: dict[str, list[str]] | None = None) -> Path:
    """A file with text or bytes as they are; or rows, as the file's suffix says; or a JSON document.

    Rows are dicts for .jsonl and .parquet and lists of fields for .tsv. `names`: ClassLabel names of Parquet columns,
    recorded as `datasets` records them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_bytes(content.encode())
    elif path.suffix == ".parquet":
        table = content if isinstance(content, pa.Table) else pa.Table.from_pylist(content)
        if names:
            features = {column: {"names": labels, "_type": "ClassLabel"} for column, labels in names.items()}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, path)
    elif path.suffix == ".tsv":
        path.write_bytes("".join("\t".join(row) + "\n" for row in content).encode())
    elif isinstance(content, list):
        path.write_bytes("".join(json.dumps(row) + "\n" for row in content).encode())
    else:
        path.write_bytes(json.dumps(content).encode())
    return path


def hub_file(folder: Path, split: str, shard: int = 0, shards: int = 1) -> Path:
    """A file of a split in the Hub's layout."""
    return folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet"


def find(dataset: str, *folders: Path):
    """Where a dataset is, in the first of the folders that has it."""
    return locate_training(DATASETS[dataset], [Folder.open(folder) for folder in folders])


def examples(dataset: str, split: str, *folders: Path) -> list:
    """All examples of a split ("train", "dev") as `plain` gives them; the reason where a row is dropped."""
    task = next(task for task in TASKS.values() if dataset in chain(task.datasets, *task.others.values()))
    labels, found = task.labels, []
    for part in getattr(find(dataset, *folders), split):
        for where, row in part.rows():
            try:
                example = part.convert(row, where, labels or ())
            except Dropped as reason:
                found.append(str(reason))
                continue
            TASK_TYPES[kind_of(example)].validate(example, where, labels if type(example) is Classify else None)
            found.append(plain(example, labels or ()))
    return found


def plain(example, labels: tuple[str, ...] = ()):
    """An example as a tuple of its texts, with the name of its label."""
    match example:
        case Classify(_, a, b, label):
            return (a, b, labels[label])
        case Regress(_, a, b, label):
            return (a, b, label)
        case Span(name, question, context, answers):
            return (name, question, context, list(answers))
        case Choice(_, prompt, choices, label):
            return (prompt, list(choices), label)
        case Tag(_, words, tags):
            return (list(words), list(tags))
        case Pair(_, query, passage, negative, group):
            return (query, passage, negative, group) if negative else (query, passage)
    return example.text


def run_config(folder: Path, tokenizer: Path, tasks: list, **more) -> str:
    """A run config whose prepared data go to `folder`/data, as a file."""
    values = {
        "name": "x", "data": str(folder / "data"), "encoder": {"config": {}, "tokenizer": str(tokenizer)},
        "tasks": tasks, "max_length": 64, "steps": 1, **more,
    }  # fmt: skip
    return str(write(folder / "run.json", values))
