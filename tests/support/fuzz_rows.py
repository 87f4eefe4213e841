"""Families of tests/support/fuzz.py on what `python -m data_prep` reads: a user's own files and the public formats."""

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import data_prep.__main__ as program
from data_prep.encoding.encode import encode
from data_prep.examples import Example, Span, Tag
from data_prep.storage.store import MANIFEST, Prepared, Split
from tests.support.fuzz import Case
from tests.support.fuzz_expect import NLI, Wrong, own, public
from tests.support.fuzz_mutate import ODD, alter, mangle, odd_name, spoil_file
from tests.support.small import KINDS, SHAPE, row_of, sentence

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


def prepared_case(
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
    return prepared_case(f"{kind}.{suffix}, {victim}: {what or how}", arguments, folder / "out", expect, check)


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


def csqa(rng: random.Random) -> dict[str, Any]:
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
    return _comma(rng, count) if name == "cosmosqa" else _jsonl(times(lambda: csqa(rng)))


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
    return prepared_case(f"{name}, {victim}: {what}", arguments, folder / "out", expect, check)
