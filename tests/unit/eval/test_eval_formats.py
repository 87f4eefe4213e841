"""The makers' files of the targets and their traps, on the real samples where they are."""

import csv
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import convert_targets, readers
from data_prep.catalogue.labels import PAWSX
from data_prep.examples import Choice, Classify
from eval.read import NotThere, read
from eval.targets import TARGETS
from tests.support.rows import fails
from tests.support.target_files import parquet


def load(target: str, codes: str, folder: Path):
    return read(TARGETS[target], tuple(codes.split()), str(folder))


def put(source: Path, folder: Path, name: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, folder / (name or source.name)))


def refused(target: str, codes: str, folder: Path) -> str:
    with pytest.raises(NotThere, match="this copy has no labels") as raised:
        load(target, codes, folder)
    return str(raised.value)


# Quoted and plain TSV


@pytest.mark.parametrize(("target", "codes"), [("xnli", "de en zh sw"), ("pawsx", "de en zh")])
def test_xtreme_tsv_says_what_the_hub_says(shared: Path, target: str, codes: str) -> None:
    """The same 2,490 and 2,000 rows a language, read from CRLF files with csv's quoting and from Parquet."""
    raw, hub = (load(target, codes, shared / "data" / folder) for folder in ("raw", "hub"))
    assert sorted(raw.rows) == sorted(hub.rows) == sorted(codes.split())
    for code in codes.split():
        left, right = ([(e.text_a, e.text_b, e.label) for e in loaded.rows[code]] for loaded in (raw, hub))
        assert left == right
    path = shared / "data" / "raw" / target / "xtreme" / "dev-de.tsv"
    assert path.read_bytes().count(b"\r\n") == len(raw.rows["de"])
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert [(e.text_a, e.text_b) for e in raw.rows["de"]] == [(row[0], row[1]) for row in rows]
    if target == "pawsx":  # 9 rows with quotes, which plain tabs would leave doubled
        quoted = [e for e in raw.rows["de"] if '"' in e.text_a + e.text_b]
        assert len(quoted) == 9 and not any('""' in e.text_a + e.text_b for e in quoted)


def test_plain_tabs_keep_their_quotes(tmp_path: Path, shared: Path) -> None:
    folder = tmp_path / "x-final" / "de"
    folder.mkdir(parents=True)
    (folder / "test_2k.tsv").write_text('id\tsentence1\tsentence2\tlabel\n7\t"a" b\tsaid "c\t1\n', encoding="utf-8")
    loaded = load("pawsx", "de en", tmp_path)
    assert loaded.rows == {"de": [Classify("7", '"a" b', 'said "c', PAWSX.index("paraphrase"))]}
    assert loaded.split == "test"
    real = load("pawsx", "de en zh", shared / "data/raw/pawsx/upstream_rows")
    assert sorted(real.rows) == ["de", "en", "zh"] and all(len(rows) >= 2 for rows in real.rows.values())
    (folder / "test_2k.tsv").write_text("id\tsentence1\tsentence2\tlabel\n7\ta\tb\t2\n", encoding="utf-8")
    fails(lambda: load("pawsx", "de", tmp_path), "line 2", "`label`", "expected 0 or 1, found '2'")


def test_xnli_in_one_file_for_all_languages(tmp_path: Path, shared: Path) -> None:
    source = shared / "data/raw/xnli/upstream_rows/XNLI-1.0"
    for kind in ("tsv", "jsonl"):
        for split in ("dev", "test"):
            put(source / f"xnli.{split}.{kind}", tmp_path / kind)
    table, lines = (
        load("xnli", "ar bg de el en es fr hi ru sw th tr ur vi zh", tmp_path / k) for k in ("tsv", "jsonl")
    )
    assert len(table.rows) == 15 and list(lines.rows) == ["ar"] and table.split == lines.split == "test"
    assert table.rows["ar"][0] == lines.rows["ar"][0] and len(lines.rows["ar"]) == 5
    with (source / "xnli.test.tsv").open(encoding="utf-8") as file:
        by_hand = {row["language"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    for code, rows in table.rows.items():
        assert (rows[-1].text_a, rows[-1].text_b) == (by_hand[code]["sentence1"], by_hand[code]["sentence2"])
        assert rows[-1].id == by_hand[code]["pairID"]
    text = (source / "xnli.test.tsv").read_text(encoding="utf-8").replace("\tcontradiction\t", "\tcontradictory\t", 1)
    (tmp_path / "tsv/xnli.test.tsv").write_text(text, encoding="utf-8")
    assert load("xnli", "ar de", tmp_path / "tsv").rows["ar"] == table.rows["ar"]


def test_two_copies_are_not_mixed(tmp_path: Path) -> None:
    """Of XTREME's files without test labels and x-final, the one with more labelled rows is taken whole."""
    (tmp_path / "pawsx").mkdir()
    (tmp_path / "pawsx/test-de.tsv").write_text("a\tb\r\n", newline="")
    (tmp_path / "pawsx/dev-de.tsv").write_text("a\tb\t1\r\n", newline="")
    (tmp_path / "pawsx/dev-fr.tsv").write_text("a\tb\t1\r\n", newline="")
    for split in ("dev", "test"):
        for code in ("de", "en"):
            (tmp_path / "x-final" / code).mkdir(parents=True, exist_ok=True)
            (tmp_path / f"x-final/{code}/{split}_2k.tsv").write_text("id\tsentence1\tsentence2\tlabel\n1\tx\ty\t0\n")
    loaded = load("pawsx", "de en fr", tmp_path)
    assert loaded.split == "test" and sorted(loaded.rows) == ["de", "en"]
    assert sorted(loaded.files["de"]) == ["x-final/de/test_2k.tsv"]
    assert any("test-de.tsv: labels withheld" in note for note in loaded.notes)


# Labels withheld


def test_copies_without_labels_are_refused(tmp_path: Path, shared: Path) -> None:
    raw = shared / "data/raw"
    put(raw / "xnli/xtreme/test-de.tsv", tmp_path / "xnli")
    put(raw / "pawsx/xtreme/test-de.tsv", tmp_path / "pawsx")
    put(raw / "udpos/unlabelled/test-de.tsv", tmp_path / "udpos")
    put(raw / "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.en.dev.json", tmp_path / "tydiqa")
    for target, name in (("xnli", "xnli"), ("pawsx", "pawsx"), ("udpos", "udpos")):
        assert f"{name}/test-de.tsv" in refused(target, "de", tmp_path)
    refused("tydiqa", "en ar", tmp_path)
    # XTREME's scripts write label 0 into every row of XCOPA's tests.
    (tmp_path / "xcopa").mkdir()
    for split in ("test", "val"):
        lines = (raw / f"xcopa/data/et/{split}.et.jsonl").read_text(encoding="utf-8").splitlines()
        blank = "".join(json.dumps({**json.loads(line), "label": 0}) + "\n" for line in lines)
        (tmp_path / f"xcopa/{split}-et.jsonl").write_text(blank, encoding="utf-8")
    refused("xcopa", "et", tmp_path)
    # MLQA and XQuAD as XTREME's remove_qa_test_annotations leaves them.
    for name, target in (
        ("mlqa/MLQA_V1/dev/dev-context-de-question-de.json", "mlqa"),
        ("xquad/xquad.de.json", "xquad"),
    ):
        document = json.loads((raw / name).read_text(encoding="utf-8"))
        for article in document["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    question["answers"] = [{"answer_start": 0, "text": ""}]
        (tmp_path / Path(name).name).write_text(json.dumps(document), encoding="utf-8")
        refused(target, "de", tmp_path)


def test_hub_copies_without_labels_are_refused(tmp_path: Path) -> None:
    columns = {"tokens": [["a", "b"]], "pos_tags": [[-1, -1]]}
    parquet(tmp_path / "google/xtreme/udpos.German/test-00000-of-00001.parquet", columns)
    refused("udpos", "de", tmp_path)
    choice = {"premise": ["a"], "choice1": ["b"], "choice2": ["c"], "question": ["cause"], "label": [-1], "idx": [0]}
    parquet(tmp_path / "cambridgeltl/xcopa/et/test-00000-of-00001.parquet", choice)
    refused("xcopa", "et", tmp_path)


# Questions


def test_mlqa_pairs_and_its_hub_copy(shared: Path) -> None:
    raw, hub = (load("mlqa", "de en es en-de de-en", shared / "data" / folder) for folder in ("raw", "hub"))
    assert {code: len(rows) for code, rows in raw.rows.items()} == {
        "de": 512, "en": 1148, "es": 500, "en-de": 512, "de-en": 512,
    }  # fmt: skip
    assert raw.rows == hub.rows and raw.split == "validation"
    # CONTEXT-QUESTION: the same question ids, German questions about English paragraphs.
    german = {e.id: e for e in raw.rows["de"]}
    assert all(e.question == german[e.id].question and e.context != german[e.id].context for e in raw.rows["en-de"])


def test_tydiqa_languages_come_from_the_ids(shared: Path, tmp_path: Path) -> None:
    loaded = load("tydiqa", "ar en ko sw", shared / "data/hub")
    assert {code: len(rows) for code, rows in loaded.rows.items()} == {"en": 200, "ko": 200, "sw": 200}
    for code, name in (("en", "english"), ("ko", "korean"), ("sw", "swahili")):
        assert all(example.id.startswith(name) for example in loaded.rows[code])
    path = put(shared / "data/raw/tydiqa/upstream_rows/tydiqa-goldp-v1.1-dev.json", tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    ids = [q["id"] for a in document["data"] for p in a["paragraphs"] for q in p["qas"]]
    assert [e.id for e in load("tydiqa", "ar en", tmp_path).rows["ar"]] == [i for i in ids if i.startswith("arabic-")]


def test_spaces_before_a_context_are_kept(shared: Path) -> None:
    """TyDiQA's offsets count the spaces that some contexts begin with."""
    rows = [e for rows in load("tydiqa", "en ko sw", shared / "data/hub").rows.values() for e in rows]
    spaced = [e for e in rows if e.context != e.context.lstrip()]
    assert len(spaced) > 20
    assert all(e.context[s : s + len(t)] == t for e in spaced for t, s in e.answers)


def test_a_copy_that_lost_those_spaces_is_mended(shared: Path, tmp_path: Path) -> None:
    """The scripts behind some Hub copies stripped the contexts and left the offsets: simulated on the real rows."""
    path = "google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet"
    table = pq.read_table(shared / "data/hub" / path)
    rows = table.to_pylist()
    for row in rows:
        row["context"] = row["context"].strip()
        row["answers"]["text"] = [text.strip() for text in row["answers"]["text"]]
    parquet(tmp_path / path, {name: [row[name] for row in rows] for name in table.column_names})
    before, after = (load("tydiqa", "en ko sw", folder) for folder in (shared / "data/hub", tmp_path))
    moved = 0
    for code, examples in before.rows.items():
        for true, mended in zip(examples, after.rows[code], strict=True):
            spaces = len(true.context) - len(true.context.lstrip())
            (text, start), *_ = true.answers
            inner = len(text) - len(text.lstrip())
            assert mended.answers[0] == (text.strip(), start + inner - spaces)
            moved += start != mended.answers[0][1]
    assert moved > 20
    assert sum(int(re.search(r"(\d+) rows: answer moved", note)[1]) for note in after.notes) == moved


def test_answers_that_occur_several_times_keep_their_place(shared: Path) -> None:
    rows = load("xquad", "en de zh", shared / "data/raw").rows
    later = [
        example
        for examples in rows.values()
        for example in examples
        if example.context.find(example.answers[0][0]) < example.answers[0][1]
    ]
    assert len(later) > 100  # not at the first occurrence of their text
    assert all(e.context.startswith(t, s) for e in later for t, s in e.answers)


# XCOPA


def test_xcopa_from_the_hub_and_from_files(shared: Path) -> None:
    raw, hub = (load("xcopa", "et id sw zh ta th", shared / "data" / folder) for folder in ("raw", "hub"))
    assert raw.rows == hub.rows and raw.split == "test" and sorted(raw.rows) == ["et", "id", "sw", "ta", "zh"]
    first = json.loads((shared / "data/raw/xcopa/data/et/test.et.jsonl").read_text(encoding="utf-8").splitlines()[0])
    prompt = first["premise"] + " What was the cause?"
    assert raw.rows["et"][0] == Choice("0", prompt, (first["choice1"], first["choice2"]), first["label"])
    assert {len(rows) for rows in raw.rows.values()} == {500}
    for rows in raw.rows.values():
        assert 200 < sum(example.label for example in rows) < 300
    with pytest.raises(NotThere):
        load("xcopa", "th", shared / "data/raw")
    fails(
        lambda: convert_targets.copa({"premise": "a", "question": "why", "label": 0}, "f: line 1", ()),
        "f: line 1", "`question`", "cause or effect",
    )  # fmt: skip


def test_rows_without_text_are_kept_and_counted(tmp_path: Path) -> None:
    """The official scores count them."""
    folder = tmp_path / "x-final/de"
    folder.mkdir(parents=True)
    rows = "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\n2\t\tb\t0\n"
    (folder / "test_2k.tsv").write_text(rows, encoding="utf-8")
    loaded = load("pawsx", "de", tmp_path)
    assert len(loaded.rows["de"]) == 2 and "1 rows: an empty text, kept" in loaded.notes[0]


def test_quoted_tsv_tells_the_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "pawsx/dev-de.tsv"
    path.parent.mkdir()
    path.write_text("id\tsentence1\tsentence2\tlabel\n", encoding="utf-8")
    fails(lambda: load("pawsx", "de", tmp_path), "dev-de.tsv: line 1: 4 fields", "XTREME's TSV")
    path.write_text('"a\tb\t1\n', encoding="utf-8")
    fails(lambda: load("pawsx", "de", tmp_path), "dev-de.tsv: line 1", "quoted as csv")
    path.write_text('"a\nb"\tc\t1\n\nd\te\t0\n', encoding="utf-8")  # a quoted field may hold a line break
    rows = list(readers.quoted_tsv(path, ("sentence1", "sentence2", "label")))
    assert [row["sentence1"] for _, row in rows] == ["a\nb", "d"]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(st.text('a"\t\n ,é\u2028', max_size=6), min_size=3, max_size=3), min_size=1, max_size=5))
def test_quoted_tsv_reads_what_csv_writes(tmp_path_factory, table) -> None:
    path = tmp_path_factory.mktemp("tsv") / "x.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(table)  # CRLF, as XTREME's scripts leave them
    rows = [list(row.values()) for _, row in readers.quoted_tsv(path, ("a", "b", "c"))]
    assert rows == table
