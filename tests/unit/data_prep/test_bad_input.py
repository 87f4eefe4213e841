"""Every way in which input can be missing or broken gives one line that says file, row, field and what to do."""

import json

import pyarrow as pa
import pytest

from data_prep.__main__ import main
from tests.support.rows import examples, fails, hub_file, write

QUESTION = {"id": "1", "question": "who", "answers": [{"text": "dog", "answer_start": 4}]}


def squad(context: object = "the dog runs", **more) -> dict:
    return {"data": [{"paragraphs": [{"context": context, "qas": [{**QUESTION, **more}]}]}]}


QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
NLI_ROW = {"premise": "a", "hypothesis": "b", "label": 0}
CSQA = {"id": "9", "question": {"stem": "How?", "choices": [{"label": x, "text": x} for x in "ABCDE"]}}
SIQA = {"context": "c", "question": "q", "answerA": "x", "answerB": "y", "answerC": "z", "correct": "D"}
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\n"
GLUE = "nyu-mll/glue/mnli/{}-00000-of-00001.parquet"
FILES = {
    "mnli": (GLUE.format("train"), GLUE.format("validation_matched")),
    "qqp": ("QQP/train.tsv", "QQP/dev.tsv"),
    "squad_v1": ("train-v1.1.json", "dev-v1.1.json"),
    "cosmosqa": ("cosmos/train.csv", "cosmos/valid.csv"),
    "commonsenseqa": ("train_rand_split.jsonl", "dev_rand_split.jsonl"),
    "siqa": ("socialIQa_v1.4_trn.jsonl", "socialIQa_v1.4_dev.jsonl"),
    "ccg": ("02/wsj_0201.auto", "00/wsj_0001.auto"),
    "pawsx": ("pawsx/train-en.tsv", "pawsx/dev-en.tsv"),
    "mewslix": ("wikipedia_pairs-train.jsonl", "wikipedia_pairs-dev.jsonl"),
}
# A dataset, the content of its files, and what the message says beside the file's name.
PUBLIC = [
    ("mnli", [{**NLI_ROW, "label": -1}], ("row 0", "no labels")),
    ("mnli", [NLI_ROW, {**NLI_ROW, "label": 3}], ("row 1", "`label`", "0 to 2", "found 3")),
    ("mnli", [{"premise": "a"}], ("column `hypothesis` is missing", "there: premise")),
    ("qqp", QQP_HEADER + "1\t2\t3\tx?\n", ("line 2", "expected 6 fields", "found 4", "QQP-clean.zip")),
    ("squad_v1", squad("a dog"), ("data[0].paragraphs[0].qas[0]", "'dog'", "character 4", "it stands at 2")),
    ("squad_v1", squad("a cat"), ("'dog'", "nowhere")),
    ("squad_v1", squad(answers=[{"text": "", "answer_start": 0}]), ("expected an answer text", "blanked")),
    ("squad_v1", squad(is_impossible=True), ("`is_impossible`", "1 answers")),
    ("squad_v1", json.dumps(squad())[:-20], ("line 1", "not valid JSON")),
    ("squad_v1", {"data": [{"title": "t"}]}, ("'paragraphs' is missing", "SQuAD")),
    ("cosmosqa", COSMOS + 'i,c,q,a,b,c,d,0\ni,"never closed,q', ("line 3",)),
    ("commonsenseqa", [CSQA], ("line 1", "no labels")),
    ("siqa", [SIQA], ("line 1", "`correct`", "found 'D'")),
    ("ccg", "ID=a\n(<T S 0 1> (<L N NN dog N>) )\n", ("line 2", "5 fields")),
    ("pawsx", "a\tb\n", ("line 1", "no labels")),
    ("mewslix", [{"contextual_mention": {}}], ("line 1", "{contextual_mention: {context, mention}, entity}")),
]


@pytest.mark.parametrize(("name", "content", "parts"), PUBLIC)
def test_public_files(name, content, parts, tmp_path):
    for path in FILES[name]:
        write(tmp_path / path, content)
    fails(lambda: examples(name, "train", tmp_path), FILES[name][0], *parts)


def test_broken_parquet(tmp_path):
    folder = tmp_path / "nyu-mll/glue/qqp"
    write(hub_file(folder, "validation"), [{"question1": "a", "question2": "b", "label": 0}])
    columns = {"question1": ["a"] * 3, "question2": ["b"] * 3, "label": [0, 1, 2]}
    path = write(hub_file(folder, "train"), pa.table(columns), {"label": ["not_duplicate", "duplicate"]})
    fails(lambda: examples("qqp", "train", tmp_path), "row 2", "`label`", "0 to 1", "found 2")
    bad = pa.array([b"fine", b"\xff\xfe", b"x"], pa.binary()).view(pa.string())
    write(path, pa.table({**columns, "question2": bad}))
    fails(lambda: examples("qqp", "train", tmp_path), "row 1", "`question2`", "invalid UTF-8")
    path.write_bytes(path.read_bytes()[:-30])
    fails(lambda: examples("qqp", "train", tmp_path), str(path), "not a readable Parquet file")


def test_an_encoder_of_another_family_is_refused_before_anything_is_prepared(tmp_path, capsys):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text('{"model_type": "t5"}')
    config = tmp_path / "run.json"
    config.write_text(json.dumps({"name": "a", "encoder": str(tmp_path / "encoder"), "tasks": ["ccg"], "steps": 1}))
    assert main(["--config", str(config), "--source", str(tmp_path)]) == 2
    assert "family 't5' has not been tested" in capsys.readouterr().err
