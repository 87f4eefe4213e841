"""Every way in which input can be missing, ambiguous or broken gives one line that says what and where."""

import pyarrow as pa
import pytest

from common.task_table import NLI
from data_prep.examples import Classify, EmptyText
from data_prep.sources.folders import Folder
from data_prep.sources.locate import DATASETS, locate, own
from tests.support.rows import QQP, fails, find, read, write_jsonl, write_parquet, write_tsv


@pytest.mark.parametrize("name", list(DATASETS))
def test_a_missing_dataset_says_where_to_get_it(name, tmp_path):
    first = {"xnli": "mnli"}.get(name, name)  # what XNLI is trained on is looked for first
    message = fails(lambda: find(name, tmp_path), f"dataset {first}", "looked for", DATASETS[first].obtain)
    if name == "ccg":
        for part in (
            "LDC2005T13",
            "licence",
            ".train.tsv",
            ".dev.tsv",
            "words<TAB>tags",
            ".auto",
            "configs/mtl_open.json",
        ):
            assert part in message
        fails(lambda: locate(DATASETS["ccg"], [None]), "LDC2005T13")
    else:
        assert DATASETS[first].hub.id in message


def test_the_first_source_that_has_it(tmp_path):
    write_tsv(tmp_path / "b/ccg/x.train.tsv", ["a", "N"])
    write_tsv(tmp_path / "b/ccg/x.dev.tsv", ["a", "N"])
    (tmp_path / "a").mkdir()
    found = locate(DATASETS["ccg"], [None, Folder.open(tmp_path / "a"), Folder.open(tmp_path / "b")])
    assert len(read(found.train)) == 1
    fails(lambda: Folder.open(tmp_path / "nowhere"), "no such folder")


def test_several_candidates(tmp_path):
    for folder in ("one", "two"):
        for split in ("train", "dev"):
            write_jsonl(
                tmp_path / folder / f"snli_1.0_{split}.jsonl",
                [{"gold_label": "neutral", "sentence1": "a", "sentence2": "b"}],
            )
    assert len(read(find("snli", tmp_path).train, NLI)) == 1  # copies of one file
    write_jsonl(
        tmp_path / "two/snli_1.0_train.jsonl", [{"gold_label": "neutral", "sentence1": "other", "sentence2": "b"}]
    )
    fails(
        lambda: find("snli", tmp_path),
        "several different files",
        "one/snli_1.0_train.jsonl",
        "two/snli_1.0_train.jsonl",
    )
    # A folder that holds only some of the files is no rival.
    (tmp_path / "two/snli_1.0_dev.jsonl").unlink()
    assert [p.name for p in find("snli", tmp_path).train] == ["one/snli_1.0_train.jsonl"]


def test_broken_text_files(tmp_path):
    def classify(data: bytes):
        (tmp_path / "train.jsonl").write_bytes(data)
        found = own("classify", str(tmp_path / "train.jsonl"), str(tmp_path / "train.jsonl"), "mine")
        return lambda: read(found.train, ("no", "yes"))

    good = b'{"text_a": "a", "label": "yes"}\n'
    assert classify(good + b"\n" + good)() == [Classify("", "a", None, 1)] * 2
    assert classify(b"\xef\xbb\xbf" + good)() == [Classify("", "a", None, 1)]  # a byte order mark
    fails(classify(good + b'{"text_a": "a\xff"}\n'), "train.jsonl: line 2", "invalid UTF-8 at byte 14")
    fails(classify(good * 2 + b'{"text_a": "a", "la'), "train.jsonl: line 3", "truncated")
    fails(classify(b'{"text_a": "a", "label": "maybe"}'), "line 1", "expected one of no, yes", "'maybe'")
    fails(classify(b'{"text_a": "a", "label": 1}'), "line 1", "`label`", "expected a text", "1")
    fails(classify(b'{"text": "a", "label": "yes"}'), "line 1", "`text_a` is missing", "there: text, label")
    fails(classify(b'{"text_a": " ", "label": "yes"}'), "line 1", "`text_a`", "expected a text")
    fails(classify(b'{"text_a": "\\ud800", "label": "yes"}'), "line 1", "surrogate")
    fails(classify(b"[1, 2]"), "line 1", "expected a JSON object")


def test_broken_parquet(tmp_path):
    folder = tmp_path / "nyu-mll/glue/qqp"
    write_parquet(folder, "validation", {"question1": ["a"], "question2": ["b"], "label": [0]})
    path = write_parquet(folder, "train", {"question1": ["a"], "label": [0]})
    found = find("qqp", tmp_path)
    fails(lambda: read(found.train, QQP), str(path), "column `question2` is missing", "there: question1, label")
    columns = {"question1": ["a"] * 3, "question2": ["b"] * 3, "label": [0, 1, 2]}
    write_parquet(folder, "train", columns, {"label": list(QQP)})
    fails(lambda: read(found.train, QQP), "row 2", "`label`", "0 to 1", "found 2")
    write_parquet(folder, "train", columns)
    fails(lambda: read(found.train, QQP), "row 2", "0 to 1", "found 2")
    bad = pa.array([b"fine", b"\xff\xfe", b"x"], pa.binary()).view(pa.string())
    write_parquet(folder, "train", {**columns, "question2": bad})
    fails(lambda: read(found.train, QQP), "row 1", "`question2`", "invalid UTF-8")
    path.write_bytes(path.read_bytes()[:-30])
    fails(lambda: read(found.train, QQP), str(path), "not a readable Parquet file")


def test_an_empty_text_in_a_public_dataset_is_recognised(tmp_path):
    folder = tmp_path / "nyu-mll/glue/qqp"
    for split in ("train", "validation"):
        write_parquet(folder, split, {"question1": [""], "question2": ["b"], "label": [0]})
    with pytest.raises(EmptyText, match=r"row 0: field `text_a`"):
        read(find("qqp", tmp_path).train, QQP)
