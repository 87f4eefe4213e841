"""Prepared folders: what is encoded comes back, equal input is reused, and nothing unfinished or damaged is taken."""

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.families import WITHOUT_INTERFACE
from data_prep.__main__ import main
from data_prep.encoding import tokenizer
from data_prep.overlap import HeldOutRows, checked
from data_prep.sources.folders import Folder
from data_prep.sources.locate import own
from data_prep.sources.sources_lock import SourcesLock
from data_prep.storage.store import Prepared
from tasks.encoding import Encoding
from tasks.registry import TASK_TYPES
from tests.support.launch import the_error
from tests.support.rows import hub_file, run_config, write
from tests.support.small import KINDS, write_run, write_tasks

LABELS = ["no", "yes"]
TEXT = "the small dog runs to the old house " * 8


@dataclass
class Run:
    """What `python -m data_prep` left: exit code, output, and by dataset its folder and its line of the table."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> dict[str, list[str]]:
        return {line.split()[0]: line.split() for line in self.out.splitlines() if line.endswith((" built", " reused"))}

    def folder(self, name: str = "mine") -> Path:
        return Path(self.lines[name][-2])

    def built(self, name: str = "mine") -> bool:
        return self.lines[name][-1] == "built"


@pytest.fixture
def data_prep(tmp_path, tiny_tokenizer_dir, capsys):
    def run(tasks: list, *options: str, tokenizer: Path = tiny_tokenizer_dir, **more) -> Run:
        code = main(["--config", run_config(tmp_path, tokenizer, tasks, **more), "--jobs", "1", *options])
        return Run(code, *capsys.readouterr())

    return run


def classify(folder: Path, n: int = 20, name: str = "rows.jsonl") -> Path:
    return write(folder / name, [{"text_a": f"dog {i}", "label": LABELS[i % 2]} for i in range(n)])


def mine(train: Path, dev: Path | None = None, kind: str = "classify", **more) -> dict:
    labels = {"labels": LABELS} if kind == "classify" else {}
    return {"name": "mine", "kind": kind, **labels, "train": str(train), "dev": str(dev or train), **more}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_rows_of_tests_are_left_out(data_prep, tmp_path: Path) -> None:
    """By id, question or context, in any of the test's languages; other folders than those of all rows."""
    squad = [
        {"id": f"5733be284776f4190066117{i}", "question": f"which house {i}", "context": f"the house {i} is old",
         "answers": [{"text": "house", "answer_start": 4}]}
        for i in range(5)
    ]  # fmt: skip
    train = write(tmp_path / "train.jsonl", squad)
    tests = {
        "de": {**squad[0], "question": "welches Haus", "context": "das Haus ist alt"},
        "en": {**squad[1], "id": "x", "question": "Which  HOUSE 1", "context": "another"},
        "es": {**squad[2], "id": "y", "question": "another"},
    }
    for code, qa in tests.items():
        # Without answers, as XTREME's copy.
        paragraph = {"context": qa["context"], "qas": [{**qa, "answers": [{"text": "", "answer_start": 0}]}]}
        write(tmp_path / "tests" / f"xquad.{code}.json", {"data": [{"title": "", "paragraphs": [paragraph]}]})
    options = ("--source", str(tmp_path / "tests"), "--against")
    run, whole = data_prep([mine(train, kind="span")], *options, "xquad"), data_prep([mine(train, kind="span")])
    manifest = Prepared(run.folder()).manifest
    reasons = {f"in the test of xquad ({what})": 1 for what in ("id", "question", "context")}
    assert manifest["splits"]["train"]["dropped"] == reasons and manifest["against"] == ["xquad"]
    assert checked(manifest) == {"kind": "span", "against": ["xquad"], "left_out": {"xquad": 3}}
    assert manifest["splits"]["dev"]["examples"] == 5 and all(reason in run.out for reason in reasons)
    assert whole.built() and Prepared(whole.folder()).manifest["splits"]["train"]["examples"] == 5
    for name, said in (("tatoeba", "expected some of"), ("tydiqa", "no test data in any --source")):
        wrong = data_prep([mine(train, kind="span")], *options, name)
        assert wrong.code == 2 and wrong.err.startswith(f"error: --against {name}: ") and said in wrong.err


# Task type, test, a training row that the test has, what makes it another.
KNOWN: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("classify", "xnli (text)", {"text_a": "p", "text_b": "The H", "label": "x"}, {"text_b": "p"}),
    ("pair", "xnli (text)", {"query": "p", "passage": "other", "negative": "The H"}, {"negative": "p"}),
    ("tag", "panx (sentence)", {"words": ["A", "b"], "tags": ["x", "x"]}, {"words": ["b", "A"]}),
    ("choice", "xcopa (text)", {"prompt": "p What was the cause?", "choices": ["a", "b"], "label": 0}, {"prompt": "a"}),
]


def test_rows_of_tests_are_known_by_all_of_their_texts(tmp_path: Path) -> None:
    """Those of NLI in a triplet of it too."""
    write(tmp_path / "xnli/dev-de.tsv", "P\tthe  H\tneutral\n")
    write(tmp_path / "panx/de/test", "de:a\tO\nde:b\tO\n")
    write(tmp_path / "xcopa/test.et.jsonl", '{"premise":"P","choice1":"a","choice2":"b","question":"cause","label":1}')
    known = HeldOutRows.read(["xnli", "panx", "xcopa"], [Folder.open(tmp_path)], SourcesLock(tmp_path))
    for kind, test, row, other in KNOWN:
        examples = [TASK_TYPES[kind].from_row(values, "row", ("x",)) for values in (row, {**row, **other})]
        assert [known.overlap(TASK_TYPES[kind], one) for one in examples] == [f"in the test of {test}", ""]


def test_rows_come_back_as_they_were_encoded(tmp_path, data_prep, tiny_tokenizer_dir):
    tasks = write_tasks(tmp_path, kinds=(*KINDS, "pair"))
    run = data_prep(tasks, max_length=20)  # so that contexts have several windows
    assert run.code == 0, run.err
    for task in tasks:
        kind = task["kind"]
        prepared = Prepared(run.folder(task["name"]))
        prepared.verify()
        assert prepared.labels == {"classify": ("no", "yes"), "tag": ("LONG", "SHORT")}.get(kind)
        (part,) = own(kind, task["train"], task["dev"], kind).dev
        examples = [part.convert(row, where, prepared.labels or ()) for where, row in part.rows()]
        expected = TASK_TYPES[kind].encode(tokenizer.load(tiny_tokenizer_dir), examples, Encoding(20, prepared.labels))
        order = [*np.random.default_rng(0).permutation(len(expected)).tolist(), 0, 0]
        for number, row in zip(order, prepared.dev.take(order), strict=True):
            assert set(row) == set(expected[number])
            for name, value in row.items():
                assert np.array_equal(value, expected[number][name])
                assert not isinstance(value, np.ndarray) or value.dtype == np.int32
        # Character offsets serve the scoring of dev answers only.
        (row,) = prepared.train.take([0])
        assert set(row) == set(expected[0]) - {"offset_start", "offset_end"}
        if kind == "span":
            assert len(expected) > len(examples)
            assert prepared.dev_examples() == [
                {"example": number, "id": e.id, "context": e.context, "answers": [text for text, _ in e.answers]}
                for number, e in enumerate(examples)
            ]


def test_the_table_and_the_manifest(tmp_path, data_prep):
    train, dev = classify(tmp_path), classify(tmp_path, 6, "dev.jsonl")
    run = data_prep([mine(train, dev), mine(train, dev, name="other", max_length=32)])
    header = ["dataset", "length", "train", "dev", "tokens", "mean", "dropped", "cut", "folder"]
    assert run.out.splitlines()[0].split() == header
    assert run.lines["mine"][:4] == ["mine", "64", "20", "6"] and run.lines["other"][:4] == ["other", "32", "20", "6"]
    manifest = json.loads((run.folder() / "manifest.json").read_text())
    assert manifest["source"]["files"] == {str(path): sha256(path) for path in (train, dev)}
    # Nothing but the folder and the lock is left.
    assert run.folder().parent == tmp_path / "data/mine"
    assert sorted(p.name for p in (tmp_path / "data/mine").iterdir()) == [".lock", run.folder().name]
    moved = data_prep([mine(train, dev)], "--out", str(tmp_path / "elsewhere"), "--set", "max_length=48")
    assert moved.folder().parent == tmp_path / "elsewhere/mine" and moved.lines["mine"][1] == "48"


def test_equal_input_is_reused_and_other_input_is_built(tmp_path, data_prep, tiny_tokenizer_dir):
    train, dev = classify(tmp_path), classify(tmp_path, 6, "dev.jsonl")
    first = data_prep([mine(train, dev)])
    again = data_prep([mine(train, dev)], "--jobs", "2")
    assert first.built() and not again.built() and again.folder() == first.folder()
    other = shutil.copytree(tiny_tokenizer_dir, tmp_path / "tokenizer")
    more = tokenizer.load(other)
    more.save_pretrained(other)  # of the same content, as the bytes of the rows elsewhere
    copied = data_prep([mine(shutil.copy(train, tmp_path / "copy.jsonl"), dev)], tokenizer=other)
    assert not copied.built() and copied.folder() == first.folder()
    more.add_tokens(["dog"])
    more.save_pretrained(other)
    runs = [
        first,
        data_prep([mine(dev, train)]),
        data_prep([mine(train, dev)], max_length=48),
        data_prep([mine(train, dev, labels=LABELS[::-1])]),
        data_prep([mine(train, dev)], tokenizer=other),
    ]
    classify(tmp_path, 21)
    runs.append(data_prep([mine(train, dev)]))
    assert all(run.built() for run in runs) and len({run.folder() for run in runs}) == len(runs)


def test_the_tags_of_the_training_split_are_the_labels(tmp_path, data_prep):
    train = write(tmp_path / "train.tsv", [["a dog", "Z N"], ["it runs", "N V"]])
    dev = write(tmp_path / "dev.tsv", [["a cat", "N NEW"]])
    run = data_prep([mine(train, dev, "tag")])
    prepared = Prepared(run.folder())
    assert prepared.labels == ("N", "V", "Z")
    assert [row["labels"].tolist() for row in prepared.train.take([0, 1])] == [[2, 0], [0, 1]]
    assert prepared.dev.take([0])[0]["labels"].tolist() == [0, -1] and prepared.dev.whole("units").tolist() == [1]
    assert "mine dev: 1 words with a tag that the training split lacks" in run.out
    # With labels of the task's own, an unknown tag is an error.
    run = data_prep([mine(train, dev, "tag", labels=["N", "V", "Z"])])
    assert run.code == 2 and "'NEW' is not among the task's labels" in run.err


def test_the_same_bytes_with_any_number_of_workers(tmp_path, data_prep):
    train = classify(tmp_path, 1024 * 9 + 700)
    runs = [data_prep([mine(train)], "--jobs", jobs, "--out", str(tmp_path / jobs)) for jobs in ("1", "2")]
    assert len({run.folder().name for run in runs}) == 1
    for name in ("train.arrow", "dev.arrow"):
        assert len({sha256(run.folder() / name) for run in runs}) == 1
    assert Prepared(runs[1].folder()).train.whole("example").tolist() == list(range(1024 * 9 + 700))


def test_drops_and_doubts_are_counted_and_shown(tmp_path, data_prep):
    raw, nli = tmp_path / "raw", {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}
    for split in ("train", "dev_matched"):
        rows = [nli, {**nli, "sentence1": " "}, {**nli, "gold_label": "-"}, nli]
        write(raw / f"multinli_1.0_{split}.jsonl", rows)
    endings = {"ind": 1, "ctx_a": "a dog", "ctx_b": "", "endings": list("abcd"), "label": 1}
    for name in ("train", "val"):
        write(raw / f"hellaswag_{name}.jsonl", [endings])
    run = data_prep(["mnli", "hellaswag"], "--source", str(raw))
    assert run.lines["mnli"][2:4] == ["2", "2"] and run.lines["mnli"][6] == "4"
    assert "mnli train: 1 dropped: empty text; 1 dropped: no gold label" in run.out
    assert "hellaswag: hellaswag_train.jsonl is not the published file" in run.out
    manifest = json.loads((run.folder("mnli") / "manifest.json").read_text())
    assert manifest["splits"]["dev"]["dropped"] == {"empty text": 1, "no gold label": 1}


def test_errors_are_one_line_and_exit_code_2(tmp_path, data_prep):
    def error(tasks: list, *options: str, **more) -> str:
        run = data_prep(tasks, *options, **more)
        line = the_error(run.err)
        assert run.code == 2 and run.err.rstrip().endswith(line)
        return line

    rows = classify(tmp_path)
    task = mine(rows)
    (tmp_path / "empty").mkdir()
    assert "LDC2005T13" in error([task, "ccg"], "--source", str(tmp_path / "empty"))
    assert "max_length 600 is more than the tokenizer's 512" in error([task], max_length=600)
    assert "nowhere.jsonl: no such file" in error([mine(tmp_path / "nowhere.jsonl")])
    assert not list((tmp_path / "data").glob("mine/*-*"))
    refused = {"t5": "has not been tested", **dict.fromkeys(WITHOUT_INTERFACE, "never calls transformers' attention")}
    for family, why in refused.items():
        write(tmp_path / family / "config.json", {"model_type": family})
        assert f"family '{family}' {why}" in error([task], encoder=str(tmp_path / family))
    twice = [{"task": "mnli", "train": str(rows), "dev": str(rows)}, "anli_plus"]
    assert "mnli is to be read from two places" in error(twice)


def test_ccg_from_files_named_in_the_config(tmp_path, data_prep):
    files = {split: str(write(tmp_path / f"x.{split}.tsv", [["a dog", "NP/N N"]])) for split in ("train", "dev")}
    assert data_prep([{"task": "ccg", **files}]).built("ccg")  # no Hub is asked


def test_queries_of_the_dual_encoders_have_lengths_of_their_own(tmp_path, data_prep):
    """XTREME-R's train_lareqa.sh and train_mewslix.sh: 96 and 64 tokens."""
    answers = {"text": ["dog"], "answer_start": [10]}
    for split in ("train", "validation"):
        row = {"id": "1", "question": TEXT * 3, "context": TEXT * 3, "answers": answers}
        write(hub_file(tmp_path / "raw/rajpurkar/squad/plain_text", split), [row])
        pair = {"mention": TEXT * 3, "entity": TEXT * 3}
        write(hub_file(tmp_path / "raw/izhx/mewsli-x/wikipedia_pairs", split), [pair])
    run = data_prep(["lareqa", "mewslix"], "--source", str(tmp_path / "raw"), max_length=128)
    for name, query in (("lareqa", 96), ("mewslix", 64)):
        (row,) = Prepared(run.folder(name)).train.take([0])
        assert row["lengths"].tolist() == [query, 128]


def test_prepared_data_that_changed_is_found_at_the_next_start(tmp_path, tiny_tokenizer_dir, monkeypatch):
    """What was read once is read again exactly if a file was touched."""
    prepared = Prepared(next((write_run(tmp_path, tiny_tokenizer_dir).parent / "data/my_classify").glob("*-*")))
    read, real = [], Prepared.verify
    monkeypatch.setattr(Prepared, "verify", lambda this: read.append(1) or real(this))
    time.sleep(0.1)
    for _ in range(2):
        prepared.confirm()
    assert len(read) == 1
    (prepared.path / "dev.arrow").touch()
    prepared.confirm()
    assert len(read) == 2
    # One bit, and the time put back.
    path = prepared.path / "train.arrow"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match=r"train\.arrow: altered since it was written"):
        prepared.confirm()
