"""Test data of the retrieval targets: XTREME's Tatoeba, BUCC's corpora, LAReQA's and Mewsli-X's candidates."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from eval.read import Candidate, Corpora, NotThere, Query, Translation
from eval.suites import TARGETS
from tests.support.rows import fails, write_jsonl
from tests.support.target_files import load, parquet, write

# Tatoeba


def test_tatoeba_sorted_english_is_refused_or_matched_by_the_labels(shared: Path, tmp_path: Path) -> None:
    """What XTREME's tatoeba_preprocess writes; its labels are the number of each English sentence's translation."""
    pairs = load("tatoeba", "de", shared / "data/raw").rows["de"]
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].english)
    write(tmp_path / "tatoeba/de-en.de", "".join(p.other + "\n" for p in pairs))
    write(tmp_path / "tatoeba/de-en.en", "".join(pairs[i].english + "\n" for i in order))
    fails(lambda: load("tatoeba", "de", tmp_path), "sorted", "hides the alignment", "LASER")
    labels = write(tmp_path / "labels/tatoeba/test-de.tsv", "".join(f"{i}\n" for i in order))
    loaded = load("tatoeba", "de", tmp_path)
    assert loaded.rows["de"] == pairs
    assert sorted(loaded.files["de"]) == ["labels/tatoeba/test-de.tsv", "tatoeba/de-en.de", "tatoeba/de-en.en"]
    write(labels, "".join(f"{i + 1}\n" for i in order))
    fails(lambda: load("tatoeba", "de", tmp_path), "test-de.tsv", "each number from 0 to 999 once")
    write(labels, "one\n" * 1000)
    fails(lambda: load("tatoeba", "de", tmp_path), "test-de.tsv: line 1", "number of a sentence")


def test_tatoeba_of_google_xtreme_has_line_ends(tmp_path: Path) -> None:
    columns = {"source_sentence": ["eins\n", "zwei\n"], "target_sentence": ["one\n", "two\n"]}
    parquet(tmp_path / "google/xtreme/tatoeba.deu/validation-00000-of-00001.parquet", columns)
    assert load("tatoeba", "de fr", tmp_path).rows == {"de": [Translation("one", "eins"), Translation("two", "zwei")]}


# BUCC


def bucc(folder: Path, name: str) -> None:
    write(folder / f"de-en.{name}.de", "de-1\teins\nde-2\tzwei\tmehr\n")
    write(folder / f"de-en.{name}.en", "en-1\tone\nen-2\ttwo\nen-3\tthree\n")
    write(folder / f"de-en.{name}.gold", "de-2\ten-3\n")


@pytest.mark.parametrize(("dev", "test"), [("sample", "training"), ("dev", "test")])
def test_bucc_corpora(tmp_path: Path, dev: str, test: str) -> None:
    bucc(tmp_path / "bucc2018/de-en", dev)
    only_dev = load("bucc", "de fr", tmp_path)
    assert only_dev.split == "validation" and list(only_dev.rows) == ["de"]
    bucc(tmp_path / "bucc2018/de-en", test)
    loaded = load("bucc", "de fr", tmp_path)
    first, last = loaded.rows["de"]
    assert loaded.split == "test" and (first.split, last.split) == ("validation", "test")
    expected = (("de-1", "de-2"), ("eins", "zwei\tmehr"), ("en-1", "en-2", "en-3"), ("one", "two", "three"))
    assert last == Corpora("test", *expected, (("de-2", "en-3"),))
    assert len(loaded.files["de"]) == 6


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("gold", None, ("no de-en.training.gold beside it (labels withheld)",)),  # XTREME's download deletes it
        ("gold", "de-9\ten-1\n", ("de-en.training.gold", "'de-9' is not the id")),
        ("en", "en-1\tone\nen-1\ttwo\n", ("de-en.training.en", "twice")),
        ("en", "en-1 one\n", ("de-en.training.en: line 1", "id<TAB>sentence")),
        ("en", None, ("de-en.training.en: missing",)),
    ],
)
def test_bucc_that_is_wrong(tmp_path: Path, name: str, text: str | None, parts: tuple[str, ...]) -> None:
    bucc(tmp_path, "training")
    path = tmp_path / f"de-en.training.{name}"
    path.unlink() if text is None else write(path, text)
    fails(lambda: load("bucc", "de", tmp_path), *parts)


def test_real_bucc(shared: Path) -> None:
    loaded = load("bucc", "de fr ru zh", shared / "data/raw")
    (corpora,) = loaded.rows["zh"]
    assert (len(corpora.other), len(corpora.english), len(corpora.gold)) == (8624, 13589, 257)
    assert loaded.split == corpora.split == "validation" and list(loaded.rows) == ["zh"]
    # The Hub's copy has the 257 pairs and nothing else: they are the same, and it is refused.
    other = dict(zip(corpora.other_ids, corpora.other, strict=True))
    english = dict(zip(corpora.english_ids, corpora.english, strict=True))
    rows = pq.read_table(shared / "data/hub/google/xtreme/bucc18.zh").to_pylist()
    pairs = [(row["source_lang"], row["target_lang"]) for row in rows]
    assert sorted(pairs) == sorted(corpora.gold)
    texts = [(row["source_sentence"], row["target_sentence"]) for row in rows]
    assert [(other[a], english[b]) for a, b in pairs] == texts
    with pytest.raises(NotThere, match=r"bucc18\.zh.*gold pairs only.*comparable\.limsi\.fr"):
        load("bucc", "de zh", shared / "data/hub")


# LAReQA

# Candidates of each language, from the table of the dataset's own README.
CANDIDATES = {"ar": 1222, "de": 1276, "en": 1180, "es": 1215, "hi": 1244, "zh": 1196}


def test_real_lareqa(shared: Path) -> None:
    loaded = load("lareqa", " ".join(TARGETS["lareqa"].of_suite("xtreme-r")), shared / "data/raw")
    assert {code: len(rows) for code, rows in loaded.rows.items()} == dict.fromkeys(sorted(CANDIDATES), 1190)
    assert {code: sum(c.language == code for c in loaded.pool) for code in CANDIDATES} == CANDIDATES
    assert any("the pool lacks el ru th tr vi" in note for note in loaded.notes)
    pool = {candidate.id: candidate for candidate in loaded.pool}
    assert len(pool) == len(loaded.pool) and not any("\n" in candidate.text for candidate in loaded.pool)
    gold = {code: {q.id.rpartition("_")[0]: set(q.gold) for q in rows} for code, rows in loaded.rows.items()}
    assert all(gold[code] == gold["en"] for code in gold)  # a question's right answers are those of its parallels
    for code in CANDIDATES:
        document = json.loads((shared / f"data/raw/lareqa/xquad-r/{code}.json").read_text(encoding="utf-8"))
        for paragraph in (paragraph for article in document["data"] for paragraph in article["paragraphs"]):
            length = len(paragraph["context"].replace("\n", ""))
            for question in paragraph["qas"]:
                mine = [pool[name].text for name in gold["en"][question["id"]] if pool[name].language == code]
                # The sentence stands before the paragraph: the one in which the answer begins.
                begins = question["answers"][0]["text"][:1]
                assert mine and all(begins in text[:-length] for text in mine)


def test_lareqa_by_hand(tmp_path: Path) -> None:
    def put(code: str, first: str, second: str, **more: Any) -> None:
        answers = {"q1": (second, 3), "q2": (first, 6), "q3": ("\n", 2)}
        qas = [
            {"id": name, "question": f"{name} {code}?", "answers": [{"text": text, "answer_start": start}]}
            for name, (text, start) in answers.items()
        ]
        paragraph = {"context": f"{first}\n{second} {first}", "sentence_breaks": [[0, 2], [3, 5], [6, 8]], "qas": qas}
        kept = {key: value for key, value in (paragraph | more).items() if value is not None}
        write(tmp_path / f"xquad-r/{code}.json", json.dumps({"data": [{"paragraphs": [kept]}]}))

    put("de", "A.", "B.")
    put("en", "C.", "D.")
    loaded = load("lareqa", "de en zh", tmp_path)
    both = ("de_1_0", "de_1_2", "en_1_0", "en_1_2")  # the same sentence twice: right in both places
    assert loaded.rows["de"] == [Query("q1_de", "q1 de?", ("de_1_1", "en_1_1")), Query("q2_de", "q2 de?", both)]
    assert loaded.pool[1] == Candidate("de_1_1", "B.A.B. A.", "de")
    assert any("1 questions left out: their answer begins in no sentence" in note for note in loaded.notes)
    (tmp_path / "xquad-r/de.json").unlink()
    assert load("lareqa", "de en zh", tmp_path).rows["en"][0].gold == ("en_1_1",)
    for more, parts in (
        ({"sentence_breaks": [[0, 99]]}, ("data[0].paragraphs[0]", "outside the paragraph")),
        ({"sentence_breaks": None}, ("`sentence_breaks` is missing", "google-research-datasets/lareqa")),
        ({"qas": []}, ("en.json: no question whose answer begins in a sentence",)),
        ({"qas": 3}, ("en.json: expected XQuAD-R's JSON",)),
    ):
        put("en", "C.", "D.", **more)
        fails(lambda: load("lareqa", "en", tmp_path), *parts)
    write(tmp_path / "xquad-r/en.json", "{")
    fails(lambda: load("lareqa", "en", tmp_path), "en.json: line 1", "not valid JSON")


# Mewsli-X


def entity(name: str, language: str, text: str, *cuts: tuple[int, int]) -> dict[str, Any]:
    spans = [{"start": start, "end": end} for start, end in cuts or [(0, len(text))]]
    return {
        "entity_id": name, "title": name, "description": text, "sentence_spans": spans,
        "description_language": language, "description_url": "",
    }  # fmt: skip


def test_mewslix_on_the_upstream_rows(shared: Path, tmp_path: Path) -> None:
    source = (shared / "data/raw/mewsli_x/example_mentions.jsonl").read_text(encoding="utf-8")
    mentions = write(tmp_path / "wikinews_mentions-test.jsonl", source)
    rows = [json.loads(line) for line in source.splitlines()]
    names = sorted({mention["entity_id"] for row in rows for mention in row["mentions"]})
    with pytest.raises(NotThere, match="no candidates"):
        load("mewslix", "en ar de", tmp_path)
    pool = [
        entity(name, "uk", f"It is {name}. More.  Still\nmore.", (0, 6 + len(name) + 1), (14, 20)) for name in names
    ]
    candidates = tmp_path / "candidate_set_entities.jsonl"
    write_jsonl(candidates, [*pool, entity("Q0", "de", "Ein  Ding")])
    loaded = load("mewslix", "en ar de", tmp_path)
    assert loaded.split == "test" and {code: len(rows) for code, rows in loaded.rows.items()} == {"en": 1, "ar": 2}
    assert [query.gold for query in loaded.rows["en"]] == [("Q1757",)]
    assert loaded.pool[-1] == Candidate("Q0", "Ein Ding", "de")
    write_jsonl(candidates, [row for row in pool if row["entity_id"] != "Q1757"])
    fails(lambda: load("mewslix", "en ar", tmp_path), "'Q1757'", "is not in it")
    write_jsonl(candidates, [*pool, pool[0]])
    fails(lambda: load("mewslix", "en ar", tmp_path), "twice")
    # The archive as published lacks the texts, which upstream scripts restore.
    write(mentions, (shared / "data/raw/mewsli_x/example_mentions_no_text.jsonl").read_text(encoding="utf-8"))
    fails(lambda: load("mewslix", "en ar", tmp_path), "line 1", "without texts")


TEXT = "One {x} y. Two dogs {a run. Three."
SENTENCES = [{"start": 0, "end": 10}, {"start": 11, "end": 27}, {"start": 28, "end": 34}]
# A mention's characters, and its text: the sentence that holds it, braces around it (XTREME-R's preprocess_mention).
MENTIONS = {
    (8, 9): "y: One (x) { y } .",  # a pair of braces becomes parentheses
    (15, 19): "dogs: Two { dogs } {a run.",  # a single one stays, as in XTREME-R's code
    (11, 14): "Two: { Two } dogs {a run.",
    (5, 14): "x} y. Two: One { { x} y. Two } dogs {a run.",  # across sentences: all that it touches
}


def test_mewslix_by_hand_and_labels_withheld(tmp_path: Path) -> None:
    context = {"document_id": "1", "language": "de", "text": TEXT, "sentence_spans": SENTENCES}
    mentions = [
        {"example_id": str(i), "mention_span": {"start": start, "end": end, "text": TEXT[start:end]}, "entity_id": ""}
        for i, (start, end) in enumerate(MENTIONS)
    ]
    write_jsonl(tmp_path / "wikinews_mentions/test-de.jsonl", [{"context": context, "mentions": mentions}])
    with pytest.raises(NotThere, match="this copy has no labels"):
        load("mewslix", "de", tmp_path)
    labelled = [{**mention, "entity_id": "Q144"} for mention in mentions]
    write_jsonl(tmp_path / "wikinews_mentions/dev-de.jsonl", [{"context": context, "mentions": labelled}])
    write_jsonl(tmp_path / "candidate_set_entities.jsonl", [entity("Q144", "en", "The dog.")])
    loaded = load("mewslix", "de en", tmp_path)
    assert loaded.split == "validation"
    assert loaded.rows == {"de": [Query(str(i), text, ("Q144",)) for i, text in enumerate(MENTIONS.values())]}


def test_mewslix_of_the_hub(tmp_path: Path) -> None:
    """izhx/mewsli-x: texts made beforehand, candidates in an archive."""
    hub = tmp_path / "izhx/mewsli-x"
    write_jsonl(hub / "wikinews_mentions/de/test.jsonl", [{"mention": "Hund: Ein { Hund }.", "entity_id": "Q144"}])
    lines = write_jsonl(tmp_path / "lines.jsonl", [{"entity_id": "Q144", "description": "The dog."}])
    path = hub / "candidate_entities.jsonl.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(lines, "candidate_entities.jsonl")
    loaded = load("mewslix", "de en", tmp_path)
    assert loaded.rows == {"de": [Query("line 1", "Hund: Ein { Hund }.", ("Q144",))]}
    assert loaded.pool == [Candidate("Q144", "The dog.", "")] and loaded.split == "test"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    fails(lambda: load("mewslix", "de", tmp_path), path.name, "not a readable archive")
