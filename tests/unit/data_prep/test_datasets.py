"""Every dataset gives the same examples from the Hub's columns and from each of its upstream files; `list` agrees.

What is broken in a public file is one line that says file, row, field and what to do.
"""

import random
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from data_prep.__main__ import main
from data_prep.datasets import DATASETS, TASKS, mmarco
from tests.support.rows import examples, fails, find, hub_file, write
from tests.unit.data_prep import dataset_forms as of
from tests.unit.data_prep.dataset_forms import FORMS, HALVES, Form


def listed(capsys, folder: Path, *more: str) -> dict[str, str]:
    """The last column of the lines of `python -m data_prep list`: training data as NAME, test data as test:NAME."""
    assert main(["list", "--data", str(folder / "data"), *more, "--source", str(folder)]) == 0
    training, test = capsys.readouterr().out.split("\n\n")[:2]
    lines = [prefix + line for prefix, text in (("", training), ("test:", test)) for line in text.splitlines()]
    return {line.split()[0]: re.split(r"  +", line)[-1] for line in lines}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_gives_its_examples(form: Form, tmp_path: Path, capsys) -> None:
    form.write(tmp_path)
    name, _, code = form.dataset.partition(".")
    assert examples(form.dataset, "train", tmp_path) == form.expected * len(form.train)
    assert examples(form.dataset, "dev", tmp_path) == form.expected * len(form.dev)
    assert listed(capsys, tmp_path)[name].startswith("no, 1 of " if code else f"in {tmp_path.name}/")
    for path in form.dev:  # without which it is neither read nor listed
        (tmp_path / path).unlink()
    fails(lambda: find(form.dataset, tmp_path), f"dataset {form.dataset}: ")
    assert listed(capsys, tmp_path)[name] == "no"


@pytest.mark.parametrize("form", HALVES, ids=str)
def test_what_has_one_split_takes_the_other_from_english(form: Form, tmp_path: Path, capsys) -> None:
    """XNLI trains on MNLI; training data alone are selected on the dev set of the English ones."""
    form.write(tmp_path)
    name, _, code = form.dataset.partition(".")
    original = "mnli" if form.dev else DATASETS[form.dataset].dev_from
    fails(lambda: find(form.dataset, tmp_path), f"dataset {original}: not found")
    english = next(other for other in FORMS if other.dataset == original)
    english.write(tmp_path)
    assert examples(form.dataset, "train", tmp_path) == (form.expected * len(form.train) or english.expected)
    assert examples(form.dataset, "dev", tmp_path) == (form.expected * len(form.dev) or english.expected)
    assert ("1 of " if code else f"in {tmp_path.name}/") in listed(capsys, tmp_path)[name]


def test_xnli_as_published(tmp_path: Path) -> None:
    """A training file a language, and one dev file of all."""
    header = ["language", "gold_label", "sentence1", "sentence2"]
    rows = [header, ["fr", "neutral", "x", "y"], ["de", "contradiction", 'a "b', "c"], ["de", "-", "x", "y"]]
    write(tmp_path / "XNLI-1.0/xnli.dev.tsv", rows)
    for code, text in (("de", 'a "b'), ("fr", "x")):
        rows = [["premise", "hypo", "label"], [text, "c", "contradictory"]]
        write(tmp_path / f"XNLI-MT-1.0/multinli/multinli.train.{code}.tsv", rows)
    assert examples("xnli.de", "train", tmp_path) == [of.NLI_PAIR]
    assert examples("xnli.de", "dev", tmp_path) == [of.NLI_PAIR, of.NO_GOLD]
    assert TASKS["mnli"].by_language["de"] == TASKS["xnli"].by_language["de"] == ("xnli.de",)


# The form that a dataset's files have (how its id begins), their content, and what the message says.
WRONG = [
    ("mnli-nyu", [{**of.NLI_ROW, "label": -1}], ("row 0", "no labels")),
    ("mnli-nyu", [of.NLI_ROW, {**of.NLI_ROW, "label": 3}], ("row 1", "`label`", "0 to 2", "found 3")),
    ("qqp-QQP", of.GLUE_QQP + "1\t2\t3\tx?\n", ("line 3", "expected 6 fields", "found 4", "QQP-clean.zip")),
    ("squad_v1-train-v", of.squad_json(of.ANSWERED, context="a dog"), ("qas[0]", "character 4", "it stands at 2")),
    ("squad_v1-train-v", of.squad_json(of.ANSWERED | {"answers": [{"text": "", "answer_start": 0}]}), ("blanked",)),
    ("cosmosqa-c", of.COSMOS_CSV + 'i,"never closed,q', ("line 4",)),
    ("ccg-ccgbank", "ID=a\n(<T S 0 1> (<L N NN dog N>) )\n", ("line 2", "5 fields")),
    ("mewslix-wiki", [{"contextual_mention": {}}], ("line 1", "{contextual_mention: {context, mention}, entity}")),
]


@pytest.mark.parametrize(("name", "content", "parts"), WRONG)
def test_what_is_wrong_is_named_with_file_and_row(name: str, content, parts: tuple[str, ...], tmp_path: Path) -> None:
    form = replace(next(form for form in FORMS if str(form).startswith(name)), content=content)
    form.write(tmp_path)
    fails(lambda: examples(form.dataset, "train", tmp_path), form.train[0], *parts)


def test_broken_parquet(tmp_path: Path) -> None:
    folder = tmp_path / "nyu-mll/glue/qqp"
    write(hub_file(folder, "validation"), [of.QQP_ROW])
    columns = {"question1": ["a"] * 3, "question2": ["b"] * 3, "label": [0, 1, 2]}
    path = write(hub_file(folder, "train"), pa.table(columns), {"label": ["not_duplicate", "duplicate"]})
    fails(lambda: examples("qqp", "train", tmp_path), "row 2", "`label`", "0 to 1", "found 2")
    bad = pa.array([b"fine", b"\xff\xfe", b"x"], pa.binary()).view(pa.string())
    write(path, pa.table({**columns, "question2": bad}))
    fails(lambda: examples("qqp", "train", tmp_path), "row 1", "`question2`", "invalid UTF-8")
    path.write_bytes(path.read_bytes()[:-30])
    fails(lambda: examples("qqp", "train", tmp_path), str(path), "not a readable Parquet file")


def test_triplets_pair_the_hypotheses_of_a_premise_in_order(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [{"premise": rng.choice("pqr"), "hypothesis": f"h{i}", "label": rng.randrange(3)} for i in range(60)]
    folder = tmp_path / "stanfordnlp/snli/plain_text"
    for split in ("train", "validation"):  # of two shards, which are regrouped together
        for shard in range(2):
            write(hub_file(folder, split, shard, 2), rows[30 * shard : 30 * shard + 30])
    expected = []
    for premise in "pqr":
        said = [[r["hypothesis"] for r in rows if r["premise"] == premise and r["label"] == label] for label in (0, 2)]
        expected += [(premise, a, b, premise) for a, b in zip(*said, strict=False)]
    found = examples("snli_triplets", "train", tmp_path)
    assert sorted(one for one in found if isinstance(one, tuple)) == sorted(expected)
    assert found.count("neutral") == sum(row["label"] == 1 for row in rows)


def write_mmarco(folder: Path, language: str, **changes: str) -> None:
    """2,000 triples of 500 queries and 300 passages, of which a `TRIPLES` of 1,000 is read."""
    for name, content in {
        "triples.train.ids.small.tsv": [[str(i % 500), str(1000 + i % 200), str(1200 + i % 100)] for i in range(2000)],
        f"google/queries/train/{language}_queries.train.tsv": [[str(i), f"{language} q{i}"] for i in range(600)],
        f"google/collections/{language}_collection.tsv": [[str(i), f"{language} p{i}", "x"] for i in range(900, 1300)],
    }.items():
        write(folder / "data" / name, changes.get(name.rpartition("/")[2], content))


def test_mmarco_is_joined_by_ids_and_parallel(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(mmarco, "TRIPLES", 1000)
    for language in ("english", "german"):
        write_mmarco(tmp_path, language)
    rows = {name: [examples(name, split, tmp_path) for split in ("train", "dev")] for name in ("mmarco", "mmarco.de")}
    train, dev = rows["mmarco"]
    ids = [(i % 500, 1000 + i % 200, 1200 + i % 100) for i in range(1000)]
    whole = {(f"english q{q}", f"english p{p}\tx", f"english p{n}\tx", f"{q}-{p}") for q, p, n in ids}
    assert set(train) | set(dev) == whole and len(train) + len(dev) == 1000 and dev
    assert not {one[0] for one in train} & {one[0] for one in dev}
    german = [[tuple(text.replace("english", "german") for text in one) for one in split] for split in (train, dev)]
    assert rows["mmarco.de"] == german
    assert listed(capsys, tmp_path)["mmarco"].startswith(f"in {tmp_path.name}/, 1 of 13 other languages")
    (tmp_path / "data/google/collections/german_collection.tsv").unlink()
    fails(lambda: find("mmarco.de", tmp_path), "german_collection.tsv: missing; it belongs to german_queries.train.tsv")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("english_queries.train.tsv", "0\tq0\n", ["line 2: query 1 is not in", "english_queries.train.tsv"]),
        ("english_collection.tsv", "1000\tp\n1200\tp\n", ["line 2: positive 1001 is not in", "english_collection"]),
        ("english_collection.tsv", "1000 p\n", ["english_collection.tsv: line 1: expected `id<TAB>text`", "1000 p"]),
        ("triples.train.ids.small.tsv", "0\t1000\n", ["ids.small.tsv: line 1: expected the ids of query, positive"]),
    ],
)
def test_mmarco_that_does_not_fit_together(tmp_path: Path, name: str, content: str, parts: list[str]) -> None:
    write_mmarco(tmp_path, "english", **{name: content})
    fails(lambda: examples("mmarco", "train", tmp_path), *parts)


@pytest.mark.parametrize("form", ["hub", "tydiqa-goldp-v1.1-train.json", "tydiqa.goldp.en.train.json"])
def test_tydiqa_is_english_and_its_dev_is_held_out_by_passage(form: str, tmp_path: Path) -> None:
    """Nine languages share two of the forms, told apart by their ids; XTREME's test are the official dev questions."""
    contexts = [f"passage {i} dog" for i in range(400)]
    languages = ["english"] if "en." in form else ["english", "swahili"]
    rows = [{"id": f"{code}-{i}", "question": "q", "context": c} for code in languages for i, c in enumerate(contexts)]
    if form == "hub":
        answers = {"text": ["dog"], "answer_start": [0]}  # the Hub's copy lost spaces, and its offsets with them
        folder = tmp_path / "google-research-datasets/tydiqa/secondary_task"
        write(hub_file(folder, "train"), [{**row, "answers": answers} for row in rows])
    else:
        for row in rows:
            row["answers"] = [{"text": "dog", "answer_start": row["context"].index("dog")}]
        paragraphs = [{"context": row["context"], "qas": [row]} for row in rows]
        write(tmp_path / form, {"data": [{"paragraphs": paragraphs}]})
    train, dev = examples("tydiqa", "train", tmp_path), examples("tydiqa", "dev", tmp_path)
    assert sorted(example[2] for example in train + dev) == sorted(contexts)
    assert len({example[0] for example in train + dev}) == len(contexts)  # predictions are kept by id
    assert all(context[start:] == "dog" for _, _, context, [(_, start)] in train + dev)
    held_out = {context for context in contexts if sha256(context.encode()).digest()[0] % 10 == 0}
    assert {example[2] for example in dev} == held_out and 20 < len(dev) < 60
    if "swahili" in languages:
        assert {example[2] for example in examples("tydiqa.sw", "dev", tmp_path)} == held_out


def test_every_dataset_has_a_form_here(tmp_path: Path, capsys) -> None:
    tested = {form.dataset.partition(".")[:2] for form in (*FORMS, *HALVES)}
    tested |= {(name, dot) for name in ("tydiqa", "mmarco") for dot in ("", ".")}
    assert tested == {name.partition(".")[:2] for name in DATASETS if not name.startswith("wiki_")}
    assert {name for name, _ in tested} < set(listed(capsys, tmp_path))


def test_list_counts_what_is_here(tmp_path: Path, capsys) -> None:
    write(hub_file(tmp_path / "hub/stanfordnlp/snli/plain_text", "train"), [of.NLI_ROW])
    for path in ("hellaswag_train.jsonl", "hellaswag_val.jsonl", "xquad-r/de.json", "xquad-r/th.json"):
        write(tmp_path / path, [])
    write(hub_file(tmp_path / "facebook/xnli/de", "test"), [of.NLI_ROW])
    write(tmp_path / "xnli.test.jsonl", [])  # all languages, but not read beside the Hub's layout
    write(tmp_path / "data/qqp/abc-def/manifest.json", "")
    wanted = {
        "snli": "no", "hellaswag": f"in {tmp_path.name}/", "qqp": "prepared", "test:lareqa": "2 of 11",
        "test:xnli": "1 of 15", "test:bucc": "no",
    }  # fmt: skip
    assert wanted.items() <= listed(capsys, tmp_path, "--source", "hub").items()


CSQA, COMMIT = "tau/commonsense_qa", "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334"
CACHED = f"datasets--tau--commonsense_qa/snapshots/{COMMIT}/data"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (f"hub/{CSQA}/data", "{}-00000-of-00001.parquet"),
        (f"{CSQA}/data", "{}-00000-of-00001.parquet"),  # hf download --local-dir
        ("commonsense_qa/data", "{}-00000-of-00001.parquet"),  # git clone
        ("commonsense_qa", "{}-00000-of-00001.parquet"),
        (CACHED, "{}-00000-of-00001.parquet"),  # HF_HOME
        (f"{CSQA}/default", "{}/0000.parquet"),  # refs/convert/parquet
        ("commonsense_qa", "save_to_disk"),
    ],
)
def test_copies_of_the_hub_as_stock_tools_make_them(folder: str, name: str, tmp_path: Path) -> None:
    if name == "save_to_disk":
        split = datasets.Dataset.from_list([of.CSQA_ROW])
        datasets.DatasetDict({"train": split, "validation": split}).save_to_disk(str(tmp_path / folder))
    else:
        for split in ("train", "validation"):
            write(tmp_path / folder / name.format(split), [of.CSQA_ROW])
    assert [examples("commonsenseqa", split, tmp_path) for split in ("train", "dev")] == [[("How?", of.LETTERS, 4)]] * 2
    if folder == CACHED:
        write(tmp_path / CACHED.replace(COMMIT, COMMIT[::-1]) / name.format("train"), [of.CSQA_ROW])
        fails(lambda: find("commonsenseqa", tmp_path), "keep the commit that is meant")


def test_several_treebanks_and_their_copies(tmp_path: Path) -> None:
    more = of.CONLLU + "\n1\tYes\t_\tINTJ\t_\t_\t0\t_\t_\t_\n"
    for name, text in (("ewt", of.CONLLU), ("gum", more), ("copy", of.CONLLU)):
        for split in ("train", "dev"):
            write(tmp_path / f"UD-{name}/en_{name}-ud-{split}.conllu", text)
    found = examples("udpos", "train", tmp_path)
    assert len(found) == 3 and (["Yes"], ["INTJ"]) in found  # byte-identical copies count once


def test_shards_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "hub/stanfordnlp/snli/plain_text"
    write(hub_file(folder, "train", 0, 2), [{**of.NLI_ROW, "label": 0}])
    write(hub_file(folder, "validation"), [of.NLI_ROW])
    fails(lambda: find("snli", tmp_path), "expected 2 files train-*", "found 1")
    write(hub_file(folder, "train", 1, 2), [of.NLI_ROW])
    assert [label for _, _, label in examples("snli", "train", tmp_path)] == ["entailment", "contradiction"]


def test_the_first_folder_that_has_all_of_it(tmp_path: Path) -> None:
    form = next(form for form in FORMS if form.dataset == "pawsx")
    part, whole, empty = tmp_path / "part", tmp_path / "whole", tmp_path / "empty"
    empty.mkdir()
    form.write(whole)
    write(part / form.dev[0], form.content)
    fails(lambda: find("pawsx", part), "pawsx: ", "part", "is there, but no train-*.parquet in it")
    found = find("pawsx", empty, part, whole)
    assert "whole/" in found.origin and found.remark.startswith("passed over: dataset pawsx")
    assert find("pawsx", whole, part).remark == ""
    fails(lambda: find("pawsx", tmp_path / "nowhere"), "no such folder")


def test_copies_of_a_file_and_rivals(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        for split in ("train", "dev"):
            write(tmp_path / folder / f"snli_1.0_{split}.jsonl", of.NLI_LINES[:1])
    assert examples("snli", "train", tmp_path) == [of.NLI_PAIR]  # copies of one file
    write(tmp_path / "two/snli_1.0_train.jsonl", of.NLI_LINES)
    names = ("one/snli_1.0_train.jsonl", "two/snli_1.0_train.jsonl")
    fails(lambda: find("snli", tmp_path), "several different files", *names)


@pytest.mark.real
def test_real_upstream_files_give_what_the_hub_gives(shared: Path, tmp_path: Path) -> None:
    """As far as the samples hold the same rows in both forms."""
    raw, hub = shared / "data/raw", shared / "data/hub"
    for name in ("mnli", "snli", "anli", "qqp", "hellaswag", "ccg", "cosmosqa", "commonsenseqa", "panx", "pawsx"):
        assert examples(name, "train", raw) and examples(name, "dev", raw), name
    assert examples("commonsenseqa", "dev", hub) == examples("commonsenseqa", "dev", raw)
    assert examples("cosmosqa", "dev", hub)[-1] == examples("cosmosqa", "dev", raw)[-1]
    assert examples("udpos", "train", raw / "udpos") == examples("udpos", "train", hub)[:400]
    upstream = {(e[1], e[2]): e[3] for e in examples("tydiqa", "train", raw / "tydiqa/tydiqa-goldp-v1.1-train")}
    both = [e for e in examples("tydiqa", "train", hub) if (e[1], e[2]) in upstream]
    assert len(both) > 300 and all(upstream[e[1], e[2]] == e[3] for e in both)
    assert examples("xnli.de", "train", raw / "xnli")[0] == (
        "Konzeptionell cream abschöpfen hat zwei grundlegende Dimensionen - Produkt und Geographie .",
        "Produkt und Geographie sind das , was creme abschöpfen Arbeit macht .", "neutral",
    )  # fmt: skip
    for name in ("xnli.de", "pawsx.de", "panx.sw"):
        assert examples(name, "train", raw) and examples(name, "dev", raw), name
    (tmp_path / "train-v1.1.json").symlink_to(raw / "xquad/xquad.en.json")  # SQuAD's dev set
    (tmp_path / "dev-v1.1.json").symlink_to(raw / "squad/squad_fixture.json")
    assert examples("squad_v1", "train", tmp_path)[:1000] == examples("squad_v1", "train", hub)
