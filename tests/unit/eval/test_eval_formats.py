"""Upstream files of XNLI, PAWS-X, MLQA, TyDiQA and XCOPA: what the Hub's copies say, without labels refused."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import PAWSX
from eval.read import NotThere
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tests.support.rows import fails, write_jsonl
from tests.support.target_files import copy, load, parquet, squad, write

# Quoted and plain TSV


@pytest.mark.parametrize(("target", "codes"), [("xnli", "de en zh sw"), ("pawsx", "de en zh")])
def test_xtreme_tsv_says_what_the_hub_says(shared: Path, target: str, codes: str) -> None:
    """The same 2,490 and 2,000 rows a language, read from CRLF files with csv's quoting and from Parquet."""
    raw, hub = (load(target, codes, shared / "data" / folder).rows for folder in ("raw", "hub"))
    assert sorted(raw) == sorted(hub) == sorted(codes.split())
    for code in codes.split():
        left, right = ([(e.text_a, e.text_b, e.label) for e in rows[code]] for rows in (raw, hub))
        assert left == right
    with (shared / f"data/raw/{target}/xtreme/dev-de.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert [(e.text_a, e.text_b) for e in raw["de"]] == [(row[0], row[1]) for row in rows]
    if target == "pawsx":  # rows with quotes, which plain tabs would leave doubled
        quoted = [e for e in raw["de"] if '"' in e.text_a + e.text_b]
        assert len(quoted) == 9 and not any('""' in e.text_a + e.text_b for e in quoted)


FIELD = st.text('a"\t\n ,é\u2028', max_size=6)


@given(st.lists(st.tuples(FIELD, FIELD, st.sampled_from("01")), min_size=1, max_size=5))
def test_quoted_tsv_reads_what_csv_writes(tmp_path_factory, table: list[tuple[str, str, str]]) -> None:
    path = tmp_path_factory.mktemp("tsv") / "pawsx" / "dev-de.tsv"
    path.parent.mkdir()
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(table)  # CRLF, as XTREME's scripts leave them
    rows = load("pawsx", "de", path.parent.parent).rows["de"]
    assert [(e.text_a, e.text_b) for e in rows] == [(a, b) for a, b, _ in table]
    assert [e.label == PAWSX.index("paraphrase") for e in rows] == [label == "1" for _, _, label in table]


def test_quoted_tsv_tells_the_wrong_file(tmp_path: Path) -> None:
    path = write(tmp_path / "pawsx/dev-de.tsv", "id\tsentence1\tsentence2\tlabel\n")
    fails(lambda: load("pawsx", "de", tmp_path), "dev-de.tsv: line 1: 4 fields", "XTREME's TSV")
    write(path, '"a\tb\t1\n')
    fails(lambda: load("pawsx", "de", tmp_path), "dev-de.tsv: line 1", "quoted as csv")


def test_plain_tabs_keep_their_quotes(tmp_path: Path, shared: Path) -> None:
    head = "id\tsentence1\tsentence2\tlabel\n"
    path = write(tmp_path / "x-final/de/test_2k.tsv", head + '7\t"a" b\tsaid "c\t1\n')
    loaded = load("pawsx", "de en", tmp_path)
    assert loaded.rows == {"de": [Classify("7", '"a" b', 'said "c', PAWSX.index("paraphrase"))]}
    assert loaded.split == "test"
    write(path, head + "7\ta\tb\t2\n")
    fails(lambda: load("pawsx", "de", tmp_path), "line 2", "`label`", "expected 0 or 1, found '2'")
    write(path, head + "1\ta\tb\t1\n2\t\tb\t0\n")  # the official scores count rows without text
    loaded = load("pawsx", "de", tmp_path)
    assert len(loaded.rows["de"]) == 2 and "1 rows: an empty text, kept" in loaded.notes[0]
    real = load("pawsx", "de en zh", shared / "data/raw/pawsx/upstream_rows")
    assert sorted(real.rows) == ["de", "en", "zh"] and all(len(rows) >= 2 for rows in real.rows.values())


def test_xnli_in_one_file_for_all_languages(tmp_path: Path, shared: Path) -> None:
    source = shared / "data/raw/xnli/upstream_rows/XNLI-1.0"
    for kind in ("tsv", "jsonl"):
        copy(source / f"xnli.test.{kind}", tmp_path / kind)
    codes = "ar bg de el en es fr hi ru sw th tr ur vi zh"
    table, lines = (load("xnli", codes, tmp_path / kind) for kind in ("tsv", "jsonl"))
    assert len(table.rows) == 15 and list(lines.rows) == ["ar"] and table.split == lines.split == "test"
    assert table.rows["ar"][0] == lines.rows["ar"][0] and len(lines.rows["ar"]) == 5
    with (source / "xnli.test.tsv").open(encoding="utf-8") as file:
        by_hand = {row["language"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    for code, rows in table.rows.items():
        assert rows[-1].id == by_hand[code]["pairID"]
        assert (rows[-1].text_a, rows[-1].text_b) == (by_hand[code]["sentence1"], by_hand[code]["sentence2"])


# Labels withheld


def refused(target: str, codes: str, folder: Path) -> None:
    with pytest.raises(NotThere, match="this copy has no labels"):
        load(target, codes, folder)


@pytest.mark.parametrize(
    ("target", "codes", "source"),
    [
        ("xnli", "de", "xnli/xtreme/test-de.tsv"),
        ("pawsx", "de", "pawsx/xtreme/test-de.tsv"),
        ("udpos", "de", "udpos/unlabelled/test-de.tsv"),
        ("tydiqa", "en ar", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.en.dev.json"),
    ],
)
def test_copies_without_labels_are_refused(tmp_path: Path, shared: Path, target: str, codes: str, source: str) -> None:
    copy(shared / "data/raw" / source, tmp_path / target)
    refused(target, codes, tmp_path)


def test_labels_that_say_nothing_are_none(tmp_path: Path, shared: Path) -> None:
    # XTREME's scripts write label 0 into every row of XCOPA's tests, and an empty answer into MLQA and XQuAD.
    lines = (shared / "data/raw/xcopa/data/et/test.et.jsonl").read_text(encoding="utf-8").splitlines()
    write_jsonl(tmp_path / "xcopa/test-et.jsonl", [{**json.loads(line), "label": 0} for line in lines])
    refused("xcopa", "et", tmp_path)
    for target, name in (("mlqa", "dev-context-de-question-de.json"), ("xquad", "xquad.de.json")):
        write(tmp_path / name, squad({"q": [("", 0)]}, "Ein Hund."))
        refused(target, "de", tmp_path)
    # On the Hub withheld labels are -1.
    columns: dict[str, list[Any]] = {"tokens": [["a", "b"]], "pos_tags": [[-1, -1]]}
    parquet(tmp_path / "google/xtreme/udpos.German/test-00000-of-00001.parquet", columns)
    refused("udpos", "de", tmp_path)
    choice = {"premise": ["a"], "choice1": ["b"], "choice2": ["c"], "question": ["cause"], "label": [-1], "idx": [0]}
    parquet(tmp_path / "cambridgeltl/xcopa/id/test-00000-of-00001.parquet", choice)
    refused("xcopa", "id", tmp_path)


# Questions


def test_mlqa_pairs_and_its_hub_copy(shared: Path) -> None:
    raw, hub = (load("mlqa", "de en es en-de de-en", shared / "data" / folder) for folder in ("raw", "hub"))
    sizes = {code: len(rows) for code, rows in raw.rows.items()}
    assert sizes == {"de": 512, "en": 1148, "es": 500, "en-de": 512, "de-en": 512}
    assert raw.rows == hub.rows and raw.split == "validation"
    # CONTEXT-QUESTION: the same question ids, German questions about English paragraphs.
    german = {e.id: e for e in raw.rows["de"]}
    assert all(e.question == german[e.id].question and e.context != german[e.id].context for e in raw.rows["en-de"])


def test_tydiqa_languages_come_from_the_ids(shared: Path, tmp_path: Path) -> None:
    loaded = load("tydiqa", "ar en ko sw", shared / "data/hub")
    assert {code: len(rows) for code, rows in loaded.rows.items()} == {"en": 200, "ko": 200, "sw": 200}
    for code, name in (("en", "english"), ("ko", "korean"), ("sw", "swahili")):
        assert all(example.id.startswith(name) for example in loaded.rows[code])
    path = copy(shared / "data/raw/tydiqa/upstream_rows/tydiqa-goldp-v1.1-dev.json", tmp_path)
    ids = re.findall(r'"id": "(arabic-[^"]+)"', path.read_text(encoding="utf-8"))
    assert ids and [e.id for e in load("tydiqa", "ar en", tmp_path).rows["ar"]] == ids


def test_spaces_before_a_context(shared: Path, tmp_path: Path) -> None:
    """TyDiQA's offsets count the spaces that some contexts begin with; copies that lost the spaces are mended.

    The scripts behind some Hub copies stripped the contexts and left the offsets: simulated here on the real rows.
    """
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
            assert all(true.context.startswith(text, start) for text, start in true.answers)
            (text, start), *_ = true.answers
            spaces = len(true.context) - len(true.context.lstrip())
            place = start + len(text) - len(text.lstrip()) - spaces
            assert mended.answers[0] == (text.strip(), place)
            moved += start != place
    assert moved > 20
    assert sum(int(re.search(r"(\d+) rows: answer moved", note)[1]) for note in after.notes) == moved


def test_xcopa_from_the_hub_and_from_files(shared: Path, tmp_path: Path) -> None:
    raw, hub = (load("xcopa", "et id sw zh ta th", shared / "data" / folder) for folder in ("raw", "hub"))
    assert raw.rows == hub.rows and raw.split == "test" and sorted(raw.rows) == ["et", "id", "sw", "ta", "zh"]
    first = json.loads((shared / "data/raw/xcopa/data/et/test.et.jsonl").read_text(encoding="utf-8").splitlines()[0])
    prompt = first["premise"] + " What was the cause?"
    assert raw.rows["et"][0] == Choice("0", prompt, (first["choice1"], first["choice2"]), first["label"])
    assert {len(rows) for rows in raw.rows.values()} == {500}
    assert all(200 < sum(example.label for example in rows) < 300 for rows in raw.rows.values())
    write_jsonl(tmp_path / "xcopa/test-et.jsonl", [{**first, "question": "why"}])
    fails(lambda: load("xcopa", "et", tmp_path), "test-et.jsonl: line 1", "`question`", "cause or effect")
