"""Every file format to examples: the Hub's columns, what the makers publish, a user's own files."""

import csv
import json

import pytest

from common.task_table import NLI, TASKS
from data_prep.convert import NO_GOLD
from data_prep.examples import Choice, Classify, Span, Tag, Text
from data_prep.sources import locate as sources
from data_prep.sources.folders import Folder
from data_prep.sources.locate import DATASETS, locate, own
from tests.support.rows import QQP, fails, find, nli, read, write_jsonl, write_parquet, write_tsv

# --- the Hub's columns ---------------------------------------------------------------------------------------------


def test_hub_labels_go_by_name_not_by_number(tmp_path):
    folder = tmp_path / "nyu-mll/glue/mnli"
    turned = ["contradiction", "entailment", "neutral"]
    write_parquet(folder, "train", nli([0, 1, 2]), {"label": turned})
    write_parquet(folder, "validation_matched", nli(["neutral"]))
    write_parquet(folder, "test_matched", nli([-1]))  # never read
    found = find("mnli", tmp_path)
    assert [e.label for e in read(found.train, NLI)] == [NLI.index(name) for name in turned]
    assert read(found.dev, NLI) == [Classify("", "p0", "h0", NLI.index("neutral"))]
    # Without recorded names the Hub's documented order holds.
    write_parquet(folder, "train", nli([0, 1, 2]))
    assert [e.label for e in read(find("mnli", tmp_path).train, NLI)] == [0, 1, 2]


def test_hub_layout_also_below_hub_and_in_shards(tmp_path):
    folder = tmp_path / "hub/stanfordnlp/snli/plain_text"
    write_parquet(folder, "train", nli([0]), shard="00000-of-00002")
    write_parquet(folder, "validation", nli([1, -1]))
    fails(lambda: find("snli", tmp_path), "expected 2 files train-*", "found 1")
    write_parquet(folder, "train", nli([2]), shard="00001-of-00002")
    found = find("snli", tmp_path)
    assert [e.label for e in read(found.train, NLI)] == [0, 2]
    assert read(found.dev, NLI) == [Classify("", "p0", "h0", 1), NO_GOLD]


def test_withheld_labels_are_refused_but_for_snli(tmp_path):
    write_parquet(tmp_path / "nyu-mll/glue/mnli", "train", nli([0, -1]), {"label": list(NLI)})
    write_parquet(tmp_path / "nyu-mll/glue/mnli", "validation_matched", nli([0]))
    message = fails(lambda: read(find("mnli", tmp_path).train, NLI), "no labels", "row 1")
    assert "train-00000-of-00001.parquet" in message


def test_hub_squad_hellaswag_cosmosqa_commonsenseqa(tmp_path):
    answers = [{"text": ["dog"], "answer_start": [4]}, {"text": [], "answer_start": []}]
    squad = {"id": ["1", "2"], "question": ["who", "why"], "context": ["the dog runs"] * 2, "answers": answers}
    for split in ("train", "validation"):
        write_parquet(tmp_path / "rajpurkar/squad_v2/squad_v2", split, {"title": ["a", "b"], **squad})
    assert read(find("squad_v2", tmp_path).dev) == [
        Span("1", "who", "the dog runs", (("dog", 4),)),
        Span("2", "why", "the dog runs", ()),
    ]
    hellaswag = {
        "ind": [1, 2], "ctx_a": ["A man sits.", "How to rest"], "ctx_b": ["he", ""],
        "endings": [["a", "b", "c", "d"]] * 2, "label": ["3", "0"],
    }  # fmt: skip
    for split in ("train", "validation"):
        write_parquet(tmp_path / "Rowan/hellaswag/default", split, hellaswag)
    assert read(find("hellaswag", tmp_path).train) == [
        Choice("1", "A man sits.", ("he a", "he b", "he c", "he d"), 3),
        Choice("2", "How to rest", ("a", "b", "c", "d"), 0),
    ]
    cosmos = {
        "id": ["x"],
        "context": ["It rained."],
        "question": ["Why?"],
        **{f"answer{i}": [f"a{i}"] for i in range(4)},
    }
    for split in ("train", "validation"):
        write_parquet(tmp_path / "allenai/cosmos_qa/default", split, {**cosmos, "label": [2]})
    assert read(find("cosmosqa", tmp_path).train) == [Choice("x", "It rained. Why?", ("a0", "a1", "a2", "a3"), 2)]
    choices = {"label": list("ABCDE"), "text": ["one", "two", "three", "four", "five"]}
    csqa = {"id": ["q"], "question": ["How many?"], "choices": [choices], "answerKey": ["B"]}
    for split in ("train", "validation"):
        write_parquet(tmp_path / "tau/commonsense_qa/default", split, csqa)
    assert read(find("commonsenseqa", tmp_path).dev) == [Choice("q", "How many?", tuple(choices["text"]), 1)]


# --- the upstream files --------------------------------------------------------------------------------------------


def test_multinli_snli_and_anli_jsonl(tmp_path):
    rows = [
        {"gold_label": "neutral", "sentence1": "a", "sentence2": "b", "pairID": "1n", "annotator_labels": ["neutral"]},
        {"gold_label": "-", "sentence1": "a", "sentence2": "b", "pairID": "2"},
    ]
    for name in (
        "multinli_1.0/multinli_1.0_train",
        "multinli_1.0/multinli_1.0_dev_matched",
        "snli_1.0_train",
        "snli_1.0_dev",
    ):
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    for name in ("mnli", "snli"):
        found = find(name, tmp_path)
        assert read(found.train, NLI) == read(found.dev, NLI) == [Classify("1n", "a", "b", 1), NO_GOLD]
    for r in "123":
        for split in ("train", "dev", "test"):
            row = {"uid": f"{split}{r}", "context": "a", "hypothesis": "b", "label": "enc"[int(r) - 1], "reason": ""}
            write_jsonl(tmp_path / f"anli_v1.0/R{r}/{split}.jsonl", [row])
    found = find("anli", tmp_path)
    assert [(e.id, e.label) for e in read(found.train, NLI)] == [("train1", 0), ("train2", 1), ("train3", 2)]
    assert [e.id for e in read(found.dev, NLI)] == ["dev1", "dev2", "dev3"]


def test_glue_tsv_goes_by_header_and_keeps_quotes(tmp_path):
    write_tsv(tmp_path / "MNLI/train.tsv", ["index", "sentence1", "sentence2", "label1", "gold_label"],
              ["0", '"a', "b", "neutral", "contradiction"])  # fmt: skip
    write_tsv(tmp_path / "MNLI/dev_matched.tsv", ["sentence1", "sentence2", "label1", "label2", "gold_label"],
              ["a", "b", "neutral", "neutral", "entailment"], end="\r\n")  # fmt: skip
    found = find("mnli", tmp_path)
    assert read(found.train, NLI) == [Classify("", '"a', "b", 2)]
    assert read(found.dev, NLI) == [Classify("", "a", "b", 0)]
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    write_tsv(tmp_path / "QQP/train.tsv", header, ["1", "2", "3", 'say "x"?', "y?", "1"])
    write_tsv(tmp_path / "QQP/dev.tsv", header, ["1", "2", "3", "x?", "y?", "0"], end="\r\n")
    # The folder itself may be given as well.
    assert read(find("qqp", tmp_path / "QQP").train, QQP) == [Classify("1", 'say "x"?', "y?", 1)]
    assert read(find("qqp", tmp_path).dev, QQP) == [Classify("1", "x?", "y?", 0)]
    write_tsv(tmp_path / "QQP/dev.tsv", header, ["1", "2", "3", "x?"])
    fails(
        lambda: read(find("qqp", tmp_path).dev, QQP), "dev.tsv: line 2", "expected 6 fields", "found 4", "QQP-clean.zip"
    )


def squad(*questions, context="the dog runs"):
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def test_squad_json(tmp_path):
    answered = {
        "id": "1",
        "question": "who",
        "answers": [{"text": "dog", "answer_start": 4}] * 2,
        "is_impossible": False,
    }
    impossible = {
        "id": "2",
        "question": "why",
        "answers": [],
        "plausible_answers": [{"text": "dog"}],
        "is_impossible": True,
    }
    for split in ("train", "dev"):
        (tmp_path / f"{split}-v2.0.json").write_text(json.dumps(squad(answered, impossible)))
        (tmp_path / f"{split}-v1.1.json").write_text(
            json.dumps(squad({k: answered[k] for k in ("id", "question", "answers")}))
        )
    first = Span("1", "who", "the dog runs", (("dog", 4), ("dog", 4)))
    assert read(find("squad_v2", tmp_path).dev) == [first, Span("2", "why", "the dog runs", ())]
    assert read(find("squad_v1", tmp_path).train) == [first]

    def dev(document):
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / "dev-v1.1.json").write_text(text)
        return lambda: read(find("squad_v1", tmp_path).dev)

    wrong = {"id": "1", "question": "who", "answers": [{"text": "dog", "answer_start": 3}]}
    fails(dev(squad(wrong)), "dev-v1.1.json", "data[0].paragraphs[0].qas[0]", "'dog'", "character 3", "it stands at 4")
    absent = {"id": "1", "question": "who", "answers": [{"text": "cat", "answer_start": 0}]}
    fails(dev(squad(absent)), "'cat'", "nowhere")
    blank = {"id": "1", "question": "who", "answers": [{"text": "", "answer_start": 0}]}
    fails(dev(squad(blank)), "expected an answer text", "blanked")
    fails(dev(squad({"id": "1", "question": "who"})), "field `answers` is missing")
    fails(dev(json.dumps(squad(wrong))[:-20]), "dev-v1.1.json: line 1", "not valid JSON")
    fails(dev({"data": [{"title": "t"}]}), "'paragraphs' is missing", "SQuAD")


def test_cosmosqa_csv_hellaswag_and_commonsenseqa_jsonl(tmp_path):
    header = ["id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"]
    (tmp_path / "cosmosqa").mkdir()
    for name in ("train.csv", "valid.csv"):
        with (tmp_path / "cosmosqa" / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, ["i", 'He said "no",\nand left .', "Why ?", "a", "b", "c", "d", "3"]])
    expected = Choice("i", 'He said "no",\nand left . Why ?', ("a", "b", "c", "d"), 3)
    assert read(find("cosmosqa", tmp_path).train) == [expected]
    (tmp_path / "cosmosqa/valid.csv").write_text(",".join(header) + '\ni,c,q,a,b,c,d,0\ni,"never closed,q')
    fails(lambda: read(find("cosmosqa", tmp_path).dev), "valid.csv: line 3")

    row = {
        "ind": 5,
        "ctx_a": "A man sits.",
        "ctx_b": "he",
        "endings": ["a", "b", "c", "d"],
        "label": 2,
        "split": "train",
    }
    for split in ("train", "val"):
        write_jsonl(tmp_path / f"hellaswag/hellaswag_{split}.jsonl", [row])
    assert read(find("hellaswag", tmp_path).dev) == [Choice("5", "A man sits.", ("he a", "he b", "he c", "he d"), 2)]

    choices = [{"label": letter, "text": f"t{letter}"} for letter in "ABCDE"]
    row = {"answerKey": "E", "id": "9", "question": {"question_concept": "x", "stem": "How?", "choices": choices}}
    for split in ("train", "dev"):
        write_jsonl(tmp_path / f"{split}_rand_split.jsonl", [row])
    assert read(find("commonsenseqa", tmp_path).dev) == [Choice("9", "How?", ("tA", "tB", "tC", "tD", "tE"), 4)]
    write_jsonl(tmp_path / "dev_rand_split.jsonl", [{k: row[k] for k in ("id", "question")}])
    fails(lambda: read(find("commonsenseqa", tmp_path).dev), "line 1", "no labels")


def test_ccg_two_columns(tmp_path):
    write_tsv(tmp_path / "ccg/x.train.tsv", ["a dog", "NP/N N"], ["it runs", r"NP S[dcl]\NP"])
    write_tsv(tmp_path / "ccg/x.dev.tsv", ["a dog", "NP/N"])
    write_tsv(tmp_path / "pos/y.train.tsv", ["not", "ccg"])  # another folder, another dataset
    found = find("ccg", tmp_path)
    assert read(found.train) == [Tag("", ("a", "dog"), ("NP/N", "N")), Tag("", ("it", "runs"), ("NP", r"S[dcl]\NP"))]
    fails(lambda: read(found.dev), "x.dev.tsv: line 1", "2 words and 1 tags")


LEAVES = (
    r"(<T S[dcl] 0 2> (<T NP 1 2> (<L NP[nb]/N DT DT The NP[nb]_1/N_1>) (<L N NN NN dog N>) )"
    r" (<L S[dcl]\NP VBZ VBZ runs S\NP>) )"
)


def test_ccgbank_auto(tmp_path):
    for section in ("00", "01", *(f"{i:02d}" for i in range(2, 22)), "23"):
        folder = tmp_path / f"ccgbank_1_1/data/AUTO/{section}"
        folder.mkdir(parents=True)
        for number in (1, 2):
            name = f"wsj_{section}{number:02d}"
            (folder / f"{name}.auto").write_text(f"ID={name}.1 PARSER=GOLD NUMPARSE=1\n{LEAVES}\n")
    found = find("ccg", tmp_path)
    assert not found.remark
    examples = read(found.train)
    assert [e.id for e in examples] == [f"wsj_{i:02d}{n:02d}.1" for i in range(2, 22) for n in (1, 2)]
    assert examples[0] == Tag("wsj_0201.1", ("The", "dog", "runs"), ("NP[nb]/N", "N", r"S[dcl]\NP"))
    assert [e.id for e in read(found.dev)] == ["wsj_0001.1", "wsj_0002.1"]
    (tmp_path / "ccgbank_1_1/data/AUTO/00/wsj_0001.auto").write_text(
        "ID=a PARSER=GOLD\n(<T S 0 1> (<L N NN dog N>) )\n"
    )
    fails(lambda: read(find("ccg", tmp_path).dev), "wsj_0001.auto: line 2", "5 fields")
    for path in (tmp_path / "ccgbank_1_1/data/AUTO/07").iterdir():
        path.unlink()
    assert "07" in find("ccg", tmp_path).remark


# --- a user's own files ----------------------------------------------------------------------------------------------


def test_own_files_of_every_kind(tmp_path):
    def one(kind: str, rows, name="f.jsonl"):
        path = tmp_path / name
        if isinstance(rows, str):
            path.write_text(rows, encoding="utf-8")
        else:
            write_jsonl(path, rows)
        return read(own(kind, str(path), str(path), "mine").train, ("no", "yes"))

    assert one("classify", [{"text_a": "a", "text_b": "b", "label": "no"}]) == [Classify("", "a", "b", 0)]
    spans = [
        {"question": "q", "context": "abc", "answers": [{"text": "b", "start": 1}]},
        {"id": 7, "question": "q", "context": "c", "answers": []},
    ]
    assert one("span", spans) == [Span("line 1", "q", "abc", (("b", 1),)), Span("7", "q", "c", ())]
    assert one("choice", [{"prompt": "p", "choices": ["a", "b"], "label": 1}]) == [Choice("", "p", ("a", "b"), 1)]
    assert one("tag", [{"words": ["a", "b"], "tags": ["X", "Y"]}]) == [Tag("", ("a", "b"), ("X", "Y"))]
    assert one("tag", "a b\tX Y\n", "f.tsv") == [Tag("", ("a", "b"), ("X", "Y"))]
    assert one("mlm", [{"text": "hello"}]) == [Text("", "hello")]
    assert one("mlm", "one line\u2028still\n\ntwo\n", "f.txt") == [Text("", "one line\u2028still"), Text("", "two")]
    fails(lambda: one("choice", [{"prompt": "p", "choices": ["a"], "label": 0}]), "line 1", "2 to 5 choices", "found 1")
    fails(lambda: one("choice", [{"prompt": "p", "choices": ["a", "b"], "label": 2}]), "`label`", "0 to 1", "found 2")
    fails(lambda: one("choice", [{"prompt": "p", "choices": ["a", "b"], "label": True}]), "`label`", "whole number")
    fails(lambda: one("tag", [{"words": ["a"], "tags": ["X", "Y"]}]), "1 words and 2 tags")
    fails(lambda: one("tag", "a b X Y\n", "f.tsv"), "line 1", "words<TAB>tags")
    fails(lambda: one("span", "x", "f.txt"), "expected a .jsonl file")
    fails(lambda: own("mlm", "nowhere.txt", "nowhere.txt", "mine"), "nowhere.txt", "no such file")


def test_the_table_fits_the_tasks():
    for task in TASKS.values():
        for name in task.datasets:
            assert DATASETS[name].kind == task.kind
            assert DATASETS[name].licence and DATASETS[name].obtain
    assert sources.OPEN_CONFIG.startswith("configs/")


def test_hellaswag_rows_without_ctx_b(shared, tmp_path):
    """WikiHow rows end in ctx_a: their endings begin with their own first letter, not with a space."""
    source = shared / "data/raw/hellaswag/hellaswag_val.1000.jsonl"
    for name in ("train", "val"):
        (tmp_path / f"hellaswag_{name}.jsonl").symlink_to(source)
    rows = [json.loads(line) for line in source.open(encoding="utf-8")]
    examples = read(find("hellaswag", tmp_path).dev)
    without = [(row, example) for row, example in zip(rows, examples, strict=True) if not row["ctx_b"]]
    assert len(without) == 87
    for row, example in without:
        assert example.prompt == row["ctx_a"] and list(example.choices) == row["endings"]
    for row, example in zip(rows, examples, strict=True):
        if row["ctx_b"]:
            assert list(example.choices) == [f"{row['ctx_b']} {ending}" for ending in row["endings"]]


@pytest.mark.real
def test_the_real_upstream_files(shared, tmp_path):
    """What the makers publish, as far as there are true rows of it, gives what the Hub's copy of the row gives."""
    folder = Folder.open(shared / "data" / "raw")
    for name in ("mnli", "snli", "anli", "qqp", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"):
        task = next(task for task in TASKS.values() if name in task.datasets)
        found = locate(DATASETS[name], [folder])
        assert read(found.train, task.labels) and read(found.dev, task.labels), name
    upstream = read(locate(DATASETS["commonsenseqa"], [folder]).dev)
    assert read(find("commonsenseqa", shared / "data").dev) == upstream
    (tmp_path / "train-v1.1.json").symlink_to(folder.path / "xquad/xquad.en.json")  # SQuAD's dev set, one answer each
    (tmp_path / "dev-v1.1.json").symlink_to(folder.path / "squad/squad_fixture.json")
    squad = find("squad_v1", tmp_path)
    assert read(squad.train)[:1000] == read(find("squad_v1", shared / "data").train)
    assert read(squad.dev) == read(find("squad_v1", shared / "data").dev)[-5:]
    for split in ("train", "dev"):
        (tmp_path / f"{split}-v2.0.json").symlink_to(folder.path / "squad_v2/dev-v2.0.json")
    questions = {example.id: example for example in read(find("squad_v2", tmp_path).dev)}
    hub_rows = find("squad_v2", shared / "data")
    assert questions == {example.id: example for example in read(hub_rows.train) + read(hub_rows.dev)}
    assert read(find("cosmosqa", shared / "data").dev)[-1] == read(locate(DATASETS["cosmosqa"], [folder]).dev)[-1]
