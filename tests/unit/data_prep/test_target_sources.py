"""The targets' English training data: from the Hub's layout and from the makers' files, on the real samples."""

import json
import shutil
from pathlib import Path

import pytest

from common.labels import NER, NLI, PAWSX, UPOS
from common.task_table import TASKS
from data_prep.datasets import targets, wikipedia
from data_prep.examples import Choice, Classify, Span, Tag, Text
from data_prep.sources.locate import DATASETS
from tests.support.rows import fails, find, read, write_jsonl, write_parquet


def put(source: Path, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)


def test_xnli_is_selected_on_its_own_english_dev_set(shared, tmp_path):
    found = find("xnli", shared / "data/hub")
    train, dev = read(found.train, NLI), read(found.dev, NLI)
    assert train == read(find("mnli", shared / "data/hub").train, NLI) and len(dev) == 2490
    raw = find("xnli_en", shared / "data/raw/xnli/upstream_rows")  # all languages in one file: English only
    assert [e.text_a for e in read(raw.dev, NLI)] == [dev[0].text_a]
    put(shared / "data/raw/xnli/xtreme/dev-en.tsv", tmp_path / "xnli/dev-en.tsv")
    assert [(e.text_a, e.text_b, e.label) for e in read(find("xnli_en", tmp_path).dev, NLI)] == [
        (e.text_a, e.text_b, e.label) for e in dev
    ]
    fails(lambda: find("xnli", tmp_path), "dataset mnli: not found")


def test_pawsx(shared, tmp_path):
    raw = shared / "data/raw/pawsx"
    plain = find("pawsx", raw / "upstream_rows")
    assert [len(read(parts, PAWSX)) for parts in (plain.train, plain.dev)] == [4, 4]
    first = (raw / "upstream_rows/x-final/en/train.tsv").read_text().splitlines()[1].split("\t")
    assert read(plain.train, PAWSX)[0] == Classify(first[0], first[1], first[2], int(first[3]))
    put(raw / "xtreme/dev-en.tsv", tmp_path / "pawsx/train-en.tsv", tmp_path / "pawsx/dev-en.tsv")
    assert len(read(find("pawsx", tmp_path).dev, PAWSX)) == 2000
    columns = {"id": [1, 2], "sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": ["0", "1"]}  # google/xtreme's
    for split in ("train", "validation"):
        write_parquet(tmp_path / "google-research-datasets/paws-x/en", split, columns)
    assert [e.label for e in read(find("pawsx", tmp_path).train, PAWSX)] == [0, 1]


def test_udpos(shared, tmp_path):
    hub, raw = find("udpos", shared / "data/hub"), find("udpos", shared / "data/raw/udpos")
    assert [len(read(parts)) for parts in (hub.train, hub.dev)] == [2000, 500]
    files = [read(parts) for parts in (raw.train, raw.dev)]
    assert [len(examples) for examples in files] == [400, 400]
    assert files[0] == read(hub.train)[:400]  # both are cuts of XTREME's train-en
    assert {tag for e in files[0] for tag in e.tags} <= set(UPOS)
    source = shared / "data/raw/ud/UD_English-EWT/en_ewt-ud-dev.conllu"
    for name in ("ewt", "gum"):
        put(source, tmp_path / f"UD_English-{name}/en_{name}-ud-train.conllu")
        put(source, tmp_path / f"UD_English-{name}/en_{name}-ud-dev.conllu")
    with (tmp_path / "UD_English-gum/en_gum-ud-train.conllu").open("a") as file:
        file.write("1\tYes\tyes\tINTJ\t_\t_\t0\troot\t_\t_\n")
    treebanks = find("udpos", tmp_path)
    assert [len(read(parts)) for parts in (treebanks.train, treebanks.dev)] == [801, 400]  # a copy counts once
    assert read(treebanks.train)[-1] == Tag("", ("Yes",), ("INTJ",))


def test_panx(shared):
    for folder in ("raw", "hub"):  # of the two raw copies, the makers' own files come first
        found = find("panx", shared / "data" / folder)
        train, dev = read(found.train), read(found.dev)
        assert train and dev and {tag for e in train + dev for tag in e.tags} <= set(NER)


def test_panx_of_the_makers(shared, tmp_path):
    source = shared / "data/raw/panx/upstream_rows/en"
    for name in ("train", "dev"):
        put(source / name, tmp_path / "panx/en" / name)
    found = find("panx", tmp_path)
    lines = (source / "train").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    expected = [line.split("\t") for line in lines]
    example = read(found.train)[0]
    assert example.words == tuple(word.removeprefix("en:") for word, _ in expected)
    assert example.tags == tuple(tag for _, tag in expected)


def test_tydiqa_is_english_and_its_dev_is_held_out(shared):
    """Nine languages share the Hub's files: only English rows are read, and no passage is in both splits."""
    found = find("tydiqa", shared / "data/hub")
    train, dev = read(found.train), read(found.dev)
    assert all(isinstance(e, Span) and e.id.startswith("english-") for e in train + dev)
    assert len(train) + len(dev) == 500 and 25 <= len(dev) <= 80
    assert not {e.context.strip() for e in train} & {e.context.strip() for e in dev}
    assert all(e.context.startswith(answer, start) for e in train + dev for answer, start in e.answers)


def test_tydiqa_of_xtreme(shared):
    """Its ids were cut down to a number that many questions share; predictions must not be kept by them."""
    path = shared / "data/raw/tydiqa/tydiqa-goldp-v1.1-train"
    found = find("tydiqa", path)
    examples = read(found.train) + read(found.dev)
    document = json.loads((path / "tydiqa.goldp.en.train.json").read_text(encoding="utf-8"))
    ids = [q["id"] for a in document["data"] for p in a["paragraphs"] for q in p["qas"]]
    assert len(examples) == len(ids) == 800 and len(set(ids)) < 60
    assert len({e.id for e in examples}) == 800
    hub = find("tydiqa", shared / "data/hub")
    theirs = {(e.question, e.context): e.answers for e in read(hub.train)}
    same = [e for e in read(found.train) if (e.question, e.context) in theirs]
    assert len(same) > 300 and all(theirs[e.question, e.context] == e.answers for e in same)


def test_tydiqa_split_is_about_a_tenth():
    dev = sum(targets.tydiqa_split({"context": f"passage {i}"}, "dev") for i in range(5000))
    assert 400 < dev < 600
    row = {"id": "english-1-0", "context": "passage 1"}
    assert targets.tydiqa_english(row, "dev") != targets.tydiqa_english(row, "train")
    assert not any(targets.tydiqa_english({**row, "id": "swahili-1-0"}, split) for split in ("train", "dev"))


def test_siqa(shared, tmp_path):
    raw = shared / "data/raw/siqa"
    put(raw / "socialIQa_v1.4_dev.jsonl", tmp_path / "socialIQa_v1.4_dev.jsonl")
    put(raw / "socialIQa_v1.4_tst.jsonl", tmp_path / "socialIQa_v1.4_trn.jsonl")
    upstream, hub = find("siqa", tmp_path), find("siqa", shared / "data/hub")
    assert read(upstream.train) == read(hub.train) and read(upstream.dev) == read(hub.dev)
    row = json.loads((raw / "socialIQa_v1.4_dev.jsonl").read_text(encoding="utf-8").splitlines()[0])
    choices = (row["answerA"], row["answerB"], row["answerC"])
    assert read(upstream.dev)[0] == Choice(
        "", f"{row['context']} {row['question']}", choices, "ABC".index(row["correct"])
    )
    write_jsonl(tmp_path / "socialIQa_v1.4_dev.jsonl", [{**row, "correct": "D"}])
    fails(lambda: read(find("siqa", tmp_path).dev), "line 1", "`correct`", "found 'D'")


def test_copa(shared, tmp_path):
    source = shared / "data/raw/xcopa/xtreme_en_copa"
    for name in ("train-en.jsonl", "val-en.jsonl"):
        put(source / name, tmp_path / "a/xcopa" / name)
        put(source / name, tmp_path / "b/COPA" / name.replace("-en", ""))
    first, second = find("copa", tmp_path / "a"), find("copa", tmp_path / "b")
    assert [len(read(parts)) for parts in (first.train, first.dev)] == [400, 100]
    assert read(first.train) == read(second.train) and read(first.dev) == read(second.dev)
    row = json.loads((source / "train-en.jsonl").read_text().splitlines()[0])
    prompt = f"{row['premise']} What was the {row['question']}?"
    assert read(first.train)[0] == Choice("0", prompt, (row["choice1"], row["choice2"]), row["label"])
    rows = [json.loads(line) for line in (source / "val-en.jsonl").read_text().splitlines()]
    columns = {
        name: [row[name] for row in rows] for name in ("premise", "choice1", "choice2", "question", "label", "idx")
    }
    for split in ("train", "validation"):
        write_parquet(tmp_path / "c/aps/super_glue/copa", split, columns, {"label": ["choice1", "choice2"]})
    assert read(find("copa", tmp_path / "c").dev) == read(first.dev)


def test_wikipedia_is_cut_by_articles(tmp_path):
    folder = tmp_path / "wikimedia/wikipedia/20231101.sw"
    texts = [f"Makala {i}" for i in range(wikipedia.DEV_DOCUMENTS + 30)]
    columns = {"id": [str(i) for i in range(len(texts))], "url": [""] * len(texts), "text": texts}
    half = {name: values[:150] for name, values in columns.items()}
    rest = {name: values[150:] for name, values in columns.items()}
    write_parquet(folder, "train", half, shard="00000-of-00009")
    write_parquet(folder, "train", rest, shard="00001-of-00009")  # the others are not needed
    found = find("wiki_sw", tmp_path)
    dev, train = read(found.dev), read(found.train)
    assert dev == [Text(str(i), texts[i]) for i in range(wikipedia.DEV_DOCUMENTS)]
    assert [e.text for e in train] == texts[wikipedia.DEV_DOCUMENTS :]
    assert [parts[0].total for parts in (found.train, found.dev)] == [30, wikipedia.DEV_DOCUMENTS]
    assert DATASETS["wiki_sw"].language == "sw" and len(TASKS["wiki"].datasets) == 50


@pytest.mark.parametrize("name", ["pawsx", "udpos", "panx", "tydiqa", "siqa", "copa", "lareqa", "mewslix"])
def test_what_is_missing_is_said(tmp_path, name):
    (tmp_path / "x").mkdir()
    hub = DATASETS[name].hub
    fails(
        lambda: find(name, tmp_path / "x"), f"dataset {name}: not found", hub.id, "--source hub", DATASETS[name].obtain
    )


def test_labels_are_those_of_the_tasks(shared):
    for name, labels in (("udpos", UPOS), ("panx", NER), ("pawsx", PAWSX)):
        assert TASKS[name].labels == labels
    for name in ("udpos", "panx"):
        found = find(name, shared / "data/hub")
        assert {tag for e in read(found.train) + read(found.dev) for tag in e.tags} <= set(TASKS[name].labels)
