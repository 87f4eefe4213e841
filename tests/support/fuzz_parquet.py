"""The family of tests/support/fuzz.py on Parquet files in the Hub's layout, as `python -m data_prep` reads them."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.storage.store import Prepared
from tests.support.fuzz import Case
from tests.support.fuzz_expect import hub
from tests.support.fuzz_mutate import mangle, spoil_file
from tests.support.fuzz_rows import config, csqa, prepared_case, same_rows
from tests.support.small import row_of, sentence

# dataset: (folder, kind)
_HUB = {
    "qqp": ("nyu-mll/glue/qqp", "classify"),
    "mnli": ("nyu-mll/glue/mnli", "classify"),
    "squad_v1": ("rajpurkar/squad/plain_text", "span"),
    "hellaswag": ("Rowan/hellaswag/default", "choice"),
    "cosmosqa": ("allenai/cosmos_qa/default", "choice"),
    "commonsenseqa": ("tau/commonsense_qa/default", "choice"),
}


def _hub_rows(name: str, rng: random.Random, count: int) -> dict[str, list[Any]]:
    rows = []
    for number in range(count):
        if name in ("qqp", "mnli"):
            a, b = ("question1", "question2") if name == "qqp" else ("premise", "hypothesis")
            rows.append({a: sentence(rng), b: sentence(rng), "label": rng.randrange(2), "idx": number})
        elif name == "squad_v1":
            row = row_of("span", rng)
            found = row["answers"]
            answers = {"text": [a["text"] for a in found], "answer_start": [a["start"] for a in found]}
            rows.append({"id": f"{number}", "question": row["question"], "context": row["context"], "answers": answers})
        elif name == "hellaswag":
            endings = [sentence(rng) for _ in range(4)]
            rows.append({"ind": number, "ctx_a": sentence(rng), "ctx_b": "so", "endings": endings, "label": "2"})
        elif name == "cosmosqa":
            row = {"id": "1", "context": sentence(rng), "question": sentence(rng), "label": rng.randrange(4)}
            rows.append({**row, **{f"answer{i}": sentence(rng, 1, 3) for i in range(4)}})
        else:
            row = csqa(rng)
            choices = {key: [c[key] for c in row["question"]["choices"]] for key in ("label", "text")}
            row = {"id": "1", "question": row["question"]["stem"], "choices": choices, "answerKey": row["answerKey"]}
            rows.append(row)
    return {key: [row[key] for row in rows] for key in rows[0]}


def _spoil_table(table: pa.Table, rng: random.Random) -> tuple[str, pa.Table]:
    column = rng.choice(table.column_names)
    index = table.column_names.index(column)
    how = rng.choice(("drop", "null", "all null", "type", "type", "rename", "no rows", "values", "twice", "metadata"))
    if how == "drop":
        table = table.remove_column(index)
    elif how == "null":
        values = table[column].to_pylist()
        values[rng.randrange(len(values))] = None
        table = table.set_column(index, column, pa.array(values, table[column].type))
    elif how == "all null":
        table = table.set_column(index, column, pa.nulls(table.num_rows))
    elif how == "type":
        values = table[column].to_pylist()
        n = len(values)
        other: list[Any] = rng.choice((
            pa.array([1.5] * n), pa.array([float("nan")] * n), pa.array([True] * n), pa.array([b"\xff"] * n),
            pa.array([2**40] * n), pa.array([["a"]] * n), pa.array([{"a": 1}] * n), pa.array(["0"] * n),
            pa.array([1.0] * n), pa.array([0] * n, pa.timestamp("s")), pa.array([0] * n, pa.uint64()),
            pa.array(["x"] * n).dictionary_encode(), pa.array([0] * n, pa.duration("ns")),
            pa.array([{"text": ["a"], "answer_start": [0.5]}] * n),
            pa.array([{"text": [None], "answer_start": [0]}] * n),
            pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int64())), pa.array([b"a"] * n).view(pa.binary()),
        ))  # fmt: skip
        how = f"type {other.type}"  # type: ignore[attr-defined]
        table = table.set_column(index, column, other)
    elif how == "rename":
        table = table.rename_columns([f"{c}x" if c == column else c for c in table.column_names])
    elif how == "no rows":
        table = table.slice(0, 0)
    elif how == "values":
        values = table[column].to_pylist()
        kind = table[column].type
        new: Any = {"int64": [-1, 2, 9, 2**40, -(2**40)], "string": ["", " ", "\x00", "7", "-1", "x" * 5000]}.get(
            str(kind), [values[0]]
        )
        values[rng.randrange(len(values))] = rng.choice(new)
        table = table.set_column(index, column, pa.array(values, kind))
    elif how == "twice":
        table = table.append_column(column, table[column])
    else:
        names: Any = rng.choice((
            b"", b"{", b"[]", b"null", b'{"info": null}', b'{"info": {"features": []}}', b"\xff", b"[" * 100_000,
            b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}',
            b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}}',
            b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1, null]}}}}',
            b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}}}',
            b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": []}}}}',
        ))  # fmt: skip
        how = f"metadata {names[:60]!r}"
        table = table.replace_schema_metadata({b"huggingface": names})
    return f"{column}: {how}", table


def parquet_files(rng: random.Random, folder: Path, world: Any) -> Case:
    """One dataset in the Hub's layout, its Parquet file altered: the table before writing, or the bytes after."""
    name = rng.choice(list(_HUB))
    place, kind = _HUB[name]
    home = folder / "in" / "source" / place
    home.mkdir(parents=True)
    dev = "validation_matched" if name == "mnli" else "validation"
    victim = rng.choice(("train", dev))
    what, expect = "nothing", None
    paths = {}
    for split, count in (("train", 6), (dev, 3)):
        table = pa.table(_hub_rows(name, rng, count))
        how = rng.choice(("table", "table", "bytes", "bytes", "file", "nothing")) if split == victim else "nothing"
        if how == "table":
            what, table = _spoil_table(table, rng)
        path = home / f"{split}-00000-of-00001.parquet"
        compression = rng.choice(("snappy", "none", "zstd"))
        pq.write_table(table, path, compression=compression, use_dictionary=rng.random() < 0.5)
        if how == "bytes":
            what, data = mangle(path.read_bytes(), rng)
            path.write_bytes(data)
        elif how == "file":
            what, expect = spoil_file(path, rng), None
        elif how == "nothing" and split == victim:
            expect = "accept"
        paths[split] = path

    def check(found: dict[str, Prepared]) -> None:
        for split, read in (("train", found[name].train), (dev, found[name].dev)):
            needed = [column for column in _hub_rows(name, rng, 1) if column != "idx"]
            rows = pq.read_table(paths[split], columns=needed).to_pylist()
            examples = [e for row in rows if (e := hub(name, row)) is not None]
            same_rows(read, kind, world.tokenizer, examples, None)

    arguments = [
        "--config", str(config(folder / "in", [name], world.folder)), "--source", str(folder / "in" / "source"),
        "--out", str(folder / "out"), "--jobs", "1",
    ]  # fmt: skip
    return prepared_case(f"{name}, {victim}: {what}", arguments, folder / "out", expect, check)
