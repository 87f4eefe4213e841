"""A user's own files: every form of the table in docs/data.md is read, what could be two things is refused."""

import gzip
import json
import lzma
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_prep.formats.own import own
from data_prep.prepare import read_examples
from data_prep.sources import locate
from data_prep.storage.store import Preparation
from tasks.base import Example
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.mlm.data import Text
from tasks.pair.data import Pair
from tasks.registry import TASK_TYPES
from tasks.regress.data import Regress
from tasks.span.data import Span
from tasks.tag.data import Tag
from tests.support.launch import REPOSITORY
from tests.support.rows import fails, write

SQUAD = {"version": "2.0", "data": [{"title": "t", "paragraphs": [{"context": "a dog ran", "qas": [
    {"id": "q", "question": "who", "answers": [{"text": "dog", "answer_start": 2}]},
    {"id": "n", "question": "why", "answers": [], "is_impossible": True},
]}]}]}  # fmt: skip
TAGGED = [Tag("", ("Port", "Alder"), ("B-LOC", "I-LOC")), Tag("", ("old",), ("O",))]
PAIRED = [Classify("", "a", 'b "c"', 1), Classify("", "d", "e", 0)]
SPANS = [Span("q", "who", "a dog ran", (("dog", 2),)), Span("n", "why", "a dog ran", ())]
CHOICES = [Choice("", "p", ("x", "y", "z"), 2)]
LINES = [{"sentence1": "a", "sentence2": 'b "c"', "label": 1}, {"sentence1": "d", "sentence2": "e", "label": 0}]
CONLLU = "# text = Port old\n1\tPort\tport\tNOUN\t_\t_\t0\troot\t_\t_\n2\told\told\tADJ\t_\t_\t1\tamod\t_\t_\n\n"


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# (row of the table in docs/data.md, task type, file name, content, examples)
FORMS: list[tuple[str, str, str, Any, list[Any]]] = [
    ("JSON lines", "classify", "f.jsonl", lines(LINES), PAIRED),
    ("JSON lines", "classify", "f.NDJSON", lines(LINES), PAIRED),
    ("JSON lines", "classify", "my rows #1 [ä], 100%.jsonl", lines(LINES), PAIRED),
    ("JSON lines", "classify", "f.data", "\n" + lines(LINES), PAIRED),
    ("JSON lines", "classify", "f.jsonl", '\ufeff{"text_a": "a", "label": "yes"}', [Classify("", "a", None, 1)]),
    ("JSON lines", "mlm", "f.txt", lines([{"text": "a b"}]), [Text("", "a b")]),
    ("JSON list", "classify", "f.json", json.dumps(LINES, indent=1), PAIRED),
    ("JSON list", "classify", "f.json", json.dumps(LINES), PAIRED),
    ("Parquet", "classify", "f.parquet", LINES, PAIRED),
    ("CSV", "classify", "f.csv", 'sentence1,sentence2,label\na,"b ""c""",yes\nd,e,no\n', PAIRED),
    ("CSV", "regress", "f.csv", "sentence1,sentence2,score\na,b,2.5\n", [Regress("", "a", "b", 2.5)]),
    ("CSV", "mlm", "f.csv", "id,text\n1,a b\n", [Text("1", "a b")]),
    ("TSV", "classify", "f.tsv", 'premise\thypothesis\tlabel\na\tb "c"\t1\nd\te\t0\n', PAIRED),
    ("SQuAD", "span", "f.json", json.dumps(SQUAD), SPANS),
    ("SQuAD", "span", "f.json", json.dumps(SQUAD, indent=1), SPANS),
    ("Hub columns", "span", "f.jsonl", lines([
        {"id": "q", "question": "who", "context": "a dog ran", "answers": {"text": ["dog"], "answer_start": [2]}},
        {"id": "n", "question": "why", "context": "a dog ran", "answers": {"text": [], "answer_start": []}},
    ]), SPANS),
    ("Hub columns", "tag", "f.jsonl", lines([{"tokens": t.words, "ner_tags": t.tags} for t in TAGGED]), TAGGED),
    ("Hub columns", "choice", "f.jsonl", lines(
        [{"question": "p", "choices": {"label": ["A", "B", "C"], "text": ["x", "y", "z"]}, "answerKey": "C"}]
    ), CHOICES),
    ("Hub columns", "choice", "f.csv", "ctx,ending0,ending1,ending2,label\np,x,y,z,2\n", CHOICES),
    ("Hub columns", "choice", "f.jsonl", lines([{"premise": "p", "endings": ["x", "y", "z"], "label": 2}]), CHOICES),
    ("Hub columns", "pair", "f.jsonl", lines([
        {"anchor": "a", "positive": "b", "negative": "c", "group": 7},
        {"query": "a", "passage": "b", "negative": None, "group": "x"},
    ]), [Pair("", "a", "b", "c", "7"), Pair("", "a", "b", "", "x")]),
    ("CoNLL columns", "tag", "f.conll", "-DOCSTART- -X- O\n\nPort NN B-LOC\nAlder NN I-LOC\n\nold JJ O\n", TAGGED),
    ("CoNLL columns", "tag", "f.txt", "Port B-LOC\r\nAlder I-LOC\r\n\r\nold O", TAGGED),
    ("CoNLL-U", "tag", "en_x-ud-train.conllu", CONLLU, [Tag("", ("Port", "old"), ("NOUN", "ADJ"))]),
    ("a word a line", "tag", "f.tsv", "Port\tB-LOC\nAlder\tI-LOC\n\nold\tO\n", TAGGED),
    ("words and tags", "tag", "f.tsv", "Port Alder\tB-LOC I-LOC\nold\tO\n", TAGGED),
    ("words and tags", "tag", "f.tsv", "a b\u00a0c\tX Y\n", [Tag("", ("a", "b\u00a0c"), ("X", "Y"))]),
    ("plain text", "mlm", "f.en", "a b\n\n[c]\u2028d\n", [Text("", "a b"), Text("", "[c]\u2028d")]),
]  # fmt: skip


def examples(path: Path, kind: str, labels: tuple[str, ...] = ("no", "yes")) -> list[Example]:
    return [
        TASK_TYPES[kind].from_row(row, where, labels if kind == "classify" else ()) for where, row in own(path, kind)
    ]


@pytest.mark.parametrize(("form", "kind", "name", "content", "expected"), FORMS)
def test_every_form_is_read(tmp_path: Path, form: str, kind: str, name: str, content: Any, expected: list[Any]) -> None:
    assert examples(write(tmp_path / name, content), kind) == expected


def test_the_table_of_the_docs_has_these_forms() -> None:
    text = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8").partition("| form |")[2].partition("\n\n")[0]
    tested = {"packed", "parallel text", *(form for form, *_ in FORMS)}
    assert set(re.findall(r"^\| ([^|-][^|]*?) \|", text, re.MULTILINE)) == tested


def test_parallel_text_of_two_files(tmp_path: Path) -> None:
    """Every line pair in order but for those with an empty line, which are counted; different lengths are refused."""
    write(tmp_path / "x.de", "eins\n \nzwei\nnochmal\n")
    write(tmp_path / "x.en.gz", gzip.compress(b"one\ntwo\n\none\n"))
    located = locate.own("pair", f"{tmp_path}/x.{{de,en.gz}}", f"{{{tmp_path}/x.en.gz,{tmp_path}/x.de}}", "opus")
    dropped, job = Counter[str](), Preparation("opus", "pair", None, "en", 16)
    found = [list(read_examples(job, located, split, dropped)) for split in ("train", "dev")]
    assert found[0] == [Pair("", "eins", "one", "", "one"), Pair("", "nochmal", "one", "", "one")]
    assert [(pair.query, pair.passage) for pair in found[1]] == [("one", "eins"), ("one", "nochmal")]
    assert dropped == {"an empty line": 4} and [file.name for file in located.train[0].files] == ["x.de", "x.en.gz"]
    write(tmp_path / "y.de", "eins\n")
    write(tmp_path / "y.en", "one\ntwo\n")
    fails(lambda: examples(tmp_path / "y.{de,en}", "pair"), "y.de: 1 lines", "y.en: 2; expected as many")
    fails(lambda: locate.own("pair", f"{tmp_path}/y.{{de,fr}}", f"{tmp_path}/x.de", "t"), "task t: ", "y.fr: no such")


def test_packed_files(tmp_path: Path) -> None:
    content = lines(LINES).encode()
    (tmp_path / "f.jsonl.gz").write_bytes(gzip.compress(content))
    (tmp_path / "f.jsonl.xz").write_bytes(lzma.compress(content))
    with pa.output_stream(str(tmp_path / "f.jsonl.zst"), compression="zstd") as file:
        file.write(content)
    for end in ("gz", "xz", "zst"):
        assert examples(tmp_path / f"f.jsonl.{end}", "classify") == PAIRED, end


@pytest.mark.parametrize(
    ("kind", "name", "content", "parts"),
    [
        ("tag", "f.tsv", "Port\tB-LOC\nlies\tO\n", ["without empty lines", "a word or a sentence"]),
        ("tag", "f.txt", "Port Alder is old\nIt is here too\n", ["expected", "CoNLL columns", "words<TAB>tags"]),
        ("tag", "f.conll", "Port NN B-LOC\nold O\n\nit PRP O\n", ["line 2", "expected 3 columns"]),
        ("tag", "f.jsonl", lines([{"tokens": ["a"], "ner_tags": ["O"], "pos_tags": ["X"]}]),
         ["`ner_tags` and `pos_tags` could be `tags`"]),
        ("classify", "f.tsv", 'text\tlabel\n"a"\tyes\n', ["line 2", "`text`", "csv's quoting"]),
        ("classify", "f.jsonl", lines([{"text": "a", "label": 2}]), ["expected one of no, yes", "2"]),
        ("mlm", "f.csv", "id,title\n1,a\n", ["`text`", "is missing", "there: id, title"]),
        ("span", "f.json", '{"data": [\n{"paragraphs": [}\n]}', ["line 2", "not valid JSON"]),
        ("classify", "f.jsonl", lines(LINES).encode() + b'{"text_a": "a\xff"}\n', ["line 3", "UTF-8 at byte 14"]),
        ("classify", "f.jsonl", lines(LINES) + '{"text_a": "a", "la', ["f.jsonl: line 3", "truncated"]),
        ("classify", "f.jsonl", lines([{"body": "a", "label": "yes"}]), ["`text_a`", "there: body, label"]),
        ("choice", "f.jsonl", lines([{"prompt": "p", "choices": ["a"], "label": 0}]), ["2 to 26 choices", "found 1"]),
        ("tag", "f.jsonl", lines([{"words": ["a"], "tags": ["X", "Y"]}]), ["1 words and 2 tags"]),
        ("span", "f.txt", "x", ["f.txt", "expected JSON lines", "SQuAD's JSON"]),
        *(
            ("regress", "f.jsonl", lines([{"text_a": "a", "text_b": "b", "label": label}]), ["`label`", said])
            for label, said in (
                ("high", "expected a number, found 'high'"),
                (-(10**400), "expected a finite number (float32), found -1000"),
            )
        ),
    ],
)  # fmt: skip
def test_what_could_be_two_things_or_none_is_refused(
    tmp_path: Path, kind: str, name: str, content: str | bytes, parts: list[str]
) -> None:
    def read() -> None:
        for example in examples(write(tmp_path / name, content), kind):
            TASK_TYPES[kind].validate(example, name, None)

    fails(read, *parts)


def test_numbers_are_names_where_the_names_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", lines([{"text": "a", "label": 3}, {"text": "b", "label": "1"}]))
    assert [e.label for e in examples(path, "classify", ("1", "2", "3"))] == [2, 0]
