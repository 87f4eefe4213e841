"""Families of tests/fuzz.py on what `python -m data_prep` reads: a user's own files, the public formats, Parquet."""

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz import Case
from fuzz_expect import NLI, Wrong, hub, own, public
from fuzz_mutate import ODD, alter, mangle, odd_name, spoil_file
from small import KINDS, SHAPE, row_of, sentence

import data_prep.__main__ as program
from data_prep.encode import encode
from data_prep.examples import Example, Span, Tag
from data_prep.store import MANIFEST, Prepared, Split

LENGTH = 64
LABELS = ["no", "yes"]


def config(folder: Path, tasks: list[Any], tokenizer: Path, **fields: Any) -> Path:
    """A small run config over `tasks`."""
    values = {
        "name": "fuzz", "output": "runs", "encoder": {"config": SHAPE, "tokenizer": str(tokenizer)}, "tasks": tasks,
        "max_length": LENGTH, "batch": {"examples": 4}, "steps": 3, "deepspeed": "zero2_cpu.json", **fields,
    }  # fmt: skip
    path = folder / "run.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def whole(out: Path) -> dict[str, Prepared]:
    """The prepared folders below `out` by dataset; AssertionError for anything there that is not a whole one."""
    found = {}
    for home in out.iterdir() if out.exists() else ():
        for entry in home.iterdir():
            assert entry.name == ".lock" or (entry / MANIFEST).is_file(), f"left behind: {entry}"
            if entry.name != ".lock":
                assert home.name not in found, f"two folders in {home}"
                found[home.name] = Prepared(entry)
                found[home.name].verify()
    return found


def same_rows(split: Split, kind: str, tokenizer: Any, examples: list[Example], labels: Any) -> None:
    """AssertionError unless the prepared rows are those of `examples`."""
    expected = encode(kind, tokenizer, examples, LENGTH, labels)
    rows = split.take(range(split.rows))
    assert len(rows) == len(expected), f"{len(rows)} rows, expected {len(expected)}"
    for number, (row, right) in enumerate(zip(rows, expected, strict=True)):
        for name, value in row.items():
            assert np.array_equal(value, right[name]), f"row {number}: {name}: {value}, expected {right[name]}"


def _prepared_case(
    what: str, arguments: list[str], out: Path, expect: str | None, check: Callable[[dict[str, Prepared]], None]
) -> Case:
    def settle(accepted: bool) -> None:
        found = whole(out)
        if accepted:
            check(found)

    return Case(what, lambda: program.main(arguments), out, expect, settle, arguments=["-m", "data_prep", *arguments])


# A user's own files


def _some_row(kind: str, rng: random.Random) -> dict[str, Any]:
    row = row_of(kind, rng)
    if kind == "span" and rng.random() < 0.2:
        row["id"] = f"q{rng.randrange(99)}"
    if kind == "classify" and rng.random() < 0.2:
        del row["text_b"]
    return row


def own_files(rng: random.Random, folder: Path, world: Any) -> Case:
    """One task of any kind with a train and a dev file, one of which is altered."""
    kind = rng.choice(KINDS)
    suffix = rng.choice(("jsonl", "jsonl", "jsonl", {"mlm": "txt", "tag": "tsv"}.get(kind, "jsonl")))
    files: dict[str, bytes] = {}
    what = ""
    victim = rng.choice(("train", "dev"))
    how = rng.choice(("field", "field", "field", "bytes", "bytes", "file", "name", "nothing"))
    for split, count in (("train", 5), ("dev", 3)):
        rows: list[Any] = [_some_row(kind, rng) for _ in range(count)]
        if split == victim and how == "field" and suffix == "jsonl":
            number = rng.randrange(count)
            what, rows[number] = alter(rows[number], rng)
        if suffix == "txt":
            lines = [row["text"] for row in rows]
        elif suffix == "tsv":
            lines = [" ".join(row["words"]) + "\t" + " ".join(row["tags"]) for row in rows]
        else:
            lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows]
        data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
        if split == victim and (how == "bytes" or (how == "field" and suffix != "jsonl")):
            what, data = mangle(data, rng)
        files[split] = data
    name = odd_name(rng) if how == "name" else victim
    paths = {split: folder / "in" / f"{name if split == victim else split}.{suffix}" for split in files}
    for split, path in paths.items():
        path.write_bytes(files[split])
    expect = None
    if how == "file":
        what = spoil_file(paths[victim], rng)
        expect = "refuse"
    elif how == "name":
        what = f"file name {name!r}"
        if "\udcff" in name:
            expect = "refuse"  # no manifest can hold it
    labels = LABELS if kind == "classify" else None
    examples: dict[str, list[Example]] = {}
    try:
        if expect is None:
            examples = {split: own(kind, data, paths[split].suffix, LABELS) for split, data in files.items()}
            rows_of = [encode(kind, world.tokenizer, e, LENGTH, labels or ()) for e in examples.values()]
            expect = "accept" if all(rows_of) else "refuse"
    except Wrong:
        expect = "refuse"
    entry = {"name": "mine", "kind": kind, **{split: str(path) for split, path in paths.items()}}
    if labels:
        entry["labels"] = labels  # type: ignore[assignment]

    def check(found: dict[str, Prepared]) -> None:
        assert list(found) == ["mine"]
        names = found["mine"].labels
        if kind == "tag":
            assert names == tuple(sorted({t for e in examples["train"] if isinstance(e, Tag) for t in e.tags}))
        for split, some in (("train", found["mine"].train), ("dev", found["mine"].dev)):
            same_rows(some, kind, world.tokenizer, examples[split], names)
        if kind == "span":
            answers = [[text for text, _ in e.answers] for e in examples["dev"] if isinstance(e, Span)]
            assert [row["answers"] for row in found["mine"].dev_examples()] == answers

    path = config(folder / "in", [entry], world.folder)
    arguments = ["--config", str(path), "--out", str(folder / "out"), "--jobs", "1"]
    return _prepared_case(f"{kind}.{suffix}, {victim}: {what or how}", arguments, folder / "out", expect, check)


# The public formats


def _jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _tab(rows: list[list[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def _squad_file(rng: random.Random, count: int) -> bytes:
    questions = []
    for number in range(count):
        row = row_of("span", rng)
        answers = [{"text": a["text"], "answer_start": a["start"]} for a in row["answers"]]
        question = {"id": f"q{number}", "question": row["question"], "answers": answers, "is_impossible": not answers}
        questions.append({"context": row["context"], "qas": [question]})
    return json.dumps({"version": "x", "data": [{"title": "t", "paragraphs": questions}]}, indent=1).encode()


def _csqa(rng: random.Random) -> dict[str, Any]:
    choices = [{"label": letter, "text": sentence(rng, 1, 3)} for letter in "ABCDE"]
    return {"id": "1", "question": {"stem": sentence(rng), "choices": choices}, "answerKey": rng.choice("ABCDE")}


def _auto(rng: random.Random, count: int) -> bytes:
    lines = []
    for number in range(count):
        leaves = " ".join(f"(<L N NN NN {word} N>)" for word in sentence(rng).split())
        lines += [f"ID=wsj_{number} PARSER=GOLD NUMPARSE=1", f"(<T S[dcl] 0 2> {leaves} )"]
    return ("\n".join(lines) + "\n").encode()


def _comma(rng: random.Random, count: int) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["id", "context", "question", *(f"answer{i}" for i in range(4)), "label"])
    for number in range(count):
        answers = [sentence(rng, 1, 3) for _ in range(4)]
        writer.writerow([str(number), f"{sentence(rng)}, so\nit is", sentence(rng), *answers, rng.randrange(4)])
    return sink.getvalue().encode()


def _public_file(name: str, rng: random.Random, count: int) -> bytes:
    def some() -> str:
        return sentence(rng)

    def times(make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(count)]

    if name in ("mnli", "snli"):
        gold = [*NLI, "-"] if count > 3 else NLI
        return _jsonl(times(lambda: {"gold_label": rng.choice(gold), "sentence1": some(), "sentence2": some()}))
    if name == "mnli.tsv":
        head = ["index", "sentence1", "sentence2", "label1", "gold_label"]
        return _tab([head, *times(lambda: ["1", some(), some() + ' "quoted', "-", rng.choice(NLI)])])
    if name == "anli":
        return _jsonl(times(lambda: {"uid": "1", "context": some(), "hypothesis": some(), "label": rng.choice("enc")}))
    if name == "qqp":
        head = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
        return _tab([head, *times(lambda: ["1", "2", "3", some(), some(), rng.choice("01")])])
    if name in ("squad_v1", "squad_v2"):
        return _squad_file(rng, count)
    if name == "hellaswag":
        return _jsonl(times(lambda: {
            "ind": 3, "ctx_a": some(), "ctx_b": rng.choice(("", "then")), "endings": [some() for _ in range(4)],
            "label": rng.randrange(4),
        }))  # fmt: skip
    if name == "ccg":
        return _tab(times(lambda: (lambda words: [" ".join(words), " ".join("N" for _ in words)])(some().split())))
    if name == "ccg.auto":
        return _auto(rng, count)
    return _comma(rng, count) if name == "cosmosqa" else _jsonl(times(lambda: _csqa(rng)))


# name: (task, kind, dataset, train file, dev file)
_FILES = {
    "mnli": ("mnli", "classify", "multinli_1.0_train.jsonl", "multinli_1.0_dev_matched.jsonl"),
    "mnli.tsv": ("mnli", "classify", "MNLI/train.tsv", "MNLI/dev_matched.tsv"),
    "qqp": ("qqp", "classify", "QQP/train.tsv", "QQP/dev.tsv"),
    "squad_v1": ("squad_v1", "span", "train-v1.1.json", "dev-v1.1.json"),
    "squad_v2": ("squad_v2", "span", "train-v2.0.json", "dev-v2.0.json"),
    "hellaswag": ("hellaswag", "choice", "hellaswag_train.jsonl", "hellaswag_val.jsonl"),
    "ccg": ("ccg", "tag", "ccg/x.train.tsv", "ccg/x.dev.tsv"),
    "ccg.auto": ("ccg", "tag", "AUTO/02/wsj_0200.auto", "AUTO/00/wsj_0001.auto"),
    "cosmosqa": ("cosmosqa", "choice", "cosmosqa/train.csv", "cosmosqa/valid.csv"),
    "commonsenseqa": ("commonsenseqa", "choice", "train_rand_split.jsonl", "dev_rand_split.jsonl"),
    "snli": ("anli_plus", "classify", "snli_1.0_train.jsonl", "snli_1.0_dev.jsonl"),
    "anli": ("anli_plus", "classify", "R2/train.jsonl", "R2/dev.jsonl"),
}
_LABELS = {"qqp": ("not_duplicate", "duplicate"), "classify": NLI}


def public_files(rng: random.Random, folder: Path, world: Any) -> Case:
    """One public dataset in its makers' format, one file of it altered."""
    name = rng.choice(list(_FILES))
    task, kind, *ends = _FILES[name]
    files = {end: _public_file(name, rng, count) for end, count in zip(ends, (6, 3), strict=True)}
    victim = rng.choice(ends)
    how = rng.choice(("field", "field", "bytes", "bytes", "bytes", "file", "nothing"))
    what, expect = how, None
    if how == "field" and victim.endswith((".jsonl", ".json")):
        if victim.endswith(".jsonl"):
            rows = files[victim].decode().splitlines()
            number = rng.randrange(len(rows))
            what, row = alter(json.loads(rows[number]), rng)
            rows[number] = json.dumps(row)
            files[victim] = ("\n".join(rows) + "\n").encode()
        else:
            what, document = alter(json.loads(files[victim]), rng)
            files[victim] = json.dumps(document).encode()
    elif how == "field":
        # A field of a table: what stands between two tabs, commas or spaces.
        text = files[victim].decode()
        old = rng.choice([word for word in text.replace(",", "\t").replace("\n", "\t").split("\t") if word])
        new = str(rng.choice(ODD))
        what = f"{old!r} -> {new[:20]!r}"
        files[victim] = text.replace(old, new, 1).encode("utf-8", "surrogatepass")
    elif how == "bytes":
        what, files[victim] = mangle(files[victim], rng)
    source = folder / "in" / "source"
    others = {}
    if task == "anli_plus":
        for other in ("mnli", "snli", "anli"):
            for end in _FILES[other][2:] if other != name else ():
                others[end] = _public_file(other, rng, 3)
        for end in ("R1/train.jsonl", "R1/dev.jsonl", "R3/train.jsonl", "R3/dev.jsonl"):
            others[end] = _public_file("anli", rng, 2)
    for end, data in {**others, **files}.items():
        (source / end).parent.mkdir(parents=True, exist_ok=True)
        (source / end).write_bytes(data)
    if how == "file":
        what = spoil_file(source / victim, rng)
    elif how == "nothing":
        expect = "accept"

    def check(found: dict[str, Prepared]) -> None:
        prepared = found[name.partition(".")[0]]
        for end, split in zip(ends, (prepared.train, prepared.dev), strict=True):
            read = [files[end]]
            if name == "anli":
                read = [others[end.replace("R2", "R1")], files[end], others[end.replace("R2", "R3")]]
            examples = [example for data in read for example in public(name, data)]
            labels = prepared.labels if kind == "tag" else None
            same_rows(split, kind, world.tokenizer, examples, labels)

    path = config(folder / "in", [task], world.folder)
    arguments = ["--config", str(path), "--source", str(source), "--out", str(folder / "out"), "--jobs", "1"]
    return _prepared_case(f"{name}, {victim}: {what}", arguments, folder / "out", expect, check)


# Parquet in the Hub's layout

_HUB = {
    "qqp": ("nyu-mll/glue/qqp", "classify", _LABELS["qqp"]),
    "mnli": ("nyu-mll/glue/mnli", "classify", NLI),
    "squad_v1": ("rajpurkar/squad/plain_text", "span", None),
    "hellaswag": ("Rowan/hellaswag/default", "choice", None),
    "cosmosqa": ("allenai/cosmos_qa/default", "choice", None),
    "commonsenseqa": ("tau/commonsense_qa/default", "choice", None),
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
            row = _csqa(rng)
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
            pa.array([{"text": ["a"], "answer_start": [0.5]}] * n), pa.array([{"text": [None], "answer_start": [0]}] * n),
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
    place, kind, labels = _HUB[name]
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
    return _prepared_case(f"{name}, {victim}: {what}", arguments, folder / "out", expect, check)
