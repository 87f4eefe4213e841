"""Readers of the retrieval targets: Tatoeba's two copies, BUCC's corpora, LAReQA's and Mewsli-X's pools."""

import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_prep import mewsli
from eval.read import Candidate, Corpora, NotThere, Query, Translation, read
from eval.suites import TARGETS
from tests.support.rows import fails, write_jsonl
from tests.unit.eval.test_eval_read import laser, parquet


def load(target: str, codes: str, folder: Path):
    return read(TARGETS[target], tuple(codes.split()), str(folder))


# Tatoeba


def xtreme_copy(pairs: list[Translation], folder: Path, code: str) -> list[int]:
    """What XTREME's tatoeba_preprocess writes; returns its labels: the number of each English sentence's other one."""
    folder.mkdir(parents=True)
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].english)
    (folder / f"{code}-en.{code}").write_text("".join(p.other + "\n" for p in pairs), encoding="utf-8", newline="")
    english = "".join(pairs[i].english + "\n" for i in order)
    (folder / f"{code}-en.en").write_text(english, encoding="utf-8", newline="")
    return order


def test_tatoeba_sorted_english_is_refused_or_matched_by_the_labels(shared: Path, tmp_path: Path) -> None:
    pairs = load("tatoeba", "de", shared / "data/raw").rows["de"]
    order = xtreme_copy(pairs, tmp_path / "tatoeba", "de")
    fails(lambda: load("tatoeba", "de", tmp_path), "sorted", "hides the alignment", "LASER")
    labels = tmp_path / "labels/tatoeba/test-de.tsv"
    labels.parent.mkdir(parents=True)
    labels.write_text("".join(f"{i}\n" for i in order))
    loaded = load("tatoeba", "de", tmp_path)
    assert loaded.rows["de"] == pairs
    assert sorted(loaded.files["de"]) == ["labels/tatoeba/test-de.tsv", "tatoeba/de-en.de", "tatoeba/de-en.en"]
    labels.write_text("".join(f"{i + 1}\n" for i in order))
    fails(lambda: load("tatoeba", "de", tmp_path), "test-de.tsv", "each number from 0 to 999 once")
    labels.write_text("one\n" * 1000)
    fails(lambda: load("tatoeba", "de", tmp_path), "test-de.tsv: line 1", "number of a sentence")


def test_tatoeba_of_google_xtreme_has_line_ends(tmp_path: Path) -> None:
    columns = {"source_sentence": ["eins\n", "zwei\n"], "target_sentence": ["one\n", "two\n"]}
    parquet(tmp_path / "google/xtreme/tatoeba.deu/validation-00000-of-00001.parquet", columns)
    assert load("tatoeba", "de fr", tmp_path).rows == {"de": [Translation("one", "eins"), Translation("two", "zwei")]}
    assert list(read(TARGETS["toy_tatoeba"], (), str(tmp_path)).rows) == ["de"]


# BUCC


def bucc(folder: Path, name: str, code: str = "de", gold: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{code}-en.{name}.{code}").write_text(f"{code}-1\teins\n{code}-2\tzwei\tmehr\n", encoding="utf-8")
    (folder / f"{code}-en.{name}.en").write_text("en-1\tone\nen-2\ttwo\nen-3\tthree\n", encoding="utf-8")
    if gold:
        (folder / f"{code}-en.{name}.gold").write_text(f"{code}-2\ten-3\n", encoding="utf-8")
    return folder


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


def test_bucc_that_is_wrong(tmp_path: Path) -> None:
    bucc(tmp_path, "training", gold=False)  # XTREME's download script deletes it
    with pytest.raises(NotThere, match=r"no de-en\.training\.gold beside it \(labels withheld\)"):
        load("bucc", "de", tmp_path)
    bucc(tmp_path, "training")
    (tmp_path / "de-en.training.gold").write_text("de-9\ten-1\n")
    fails(lambda: load("bucc", "de", tmp_path), "de-en.training.gold", "'de-9' is not the id")
    bucc(tmp_path, "training")
    (tmp_path / "de-en.training.en").write_text("en-1\tone\nen-1\ttwo\n")
    fails(lambda: load("bucc", "de", tmp_path), "de-en.training.en", "twice")
    (tmp_path / "de-en.training.en").write_text("en-1 one\n")
    fails(lambda: load("bucc", "de", tmp_path), "de-en.training.en: line 1", "id<TAB>sentence")
    (tmp_path / "de-en.training.en").unlink()
    fails(lambda: load("bucc", "de", tmp_path), "de-en.training.en: missing")


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
    sizes = {code: sum(c.language == code for c in loaded.pool) for code in CANDIDATES}
    assert sizes == CANDIDATES
    assert any("the pool lacks el ru th tr vi" in note for note in loaded.notes)
    pool = {candidate.id: candidate for candidate in loaded.pool}
    assert len(pool) == len(loaded.pool)
    gold = {code: {q.id.rpartition("_")[0]: set(q.gold) for q in rows} for code, rows in loaded.rows.items()}
    assert all(gold[code] == gold["en"] for code in gold)  # a question's right answers are those of its parallels
    for code in CANDIDATES:
        document = json.loads((shared / f"data/raw/lareqa/xquad-r/{code}.json").read_text(encoding="utf-8"))
        for article in document["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    (answer,) = question["answers"]
                    mine = [pool[name] for name in gold["en"][question["id"]] if pool[name].language == code]
                    # The sentence before the paragraph: the one of which the answer's first characters are a part.
                    begins = answer["text"][:1]
                    assert mine and all(begins in c.text[: -len(paragraph["context"].replace("\n", ""))] for c in mine)
                    flat = [sentence.replace("\n", "") for sentence in paragraph["sentences"]]
                    sentences = [s for s in flat if any(c.text.startswith(s) for c in mine)]
                    assert sentences and all("\n" not in c.text for c in mine)


def test_lareqa_by_hand(tmp_path: Path) -> None:
    def write(code: str, first: str, second: str, **more) -> None:
        context = f"{first}\n{second} {first}"
        breaks = [[0, 2], [3, 5], [6, 8]]
        answer = {"text": second, "answer_start": 3}
        qas = [
            {"id": "q1", "question": f"Q{code}?", "answers": [answer]},
            {"id": "q2", "question": "?", "answers": [{"text": first, "answer_start": 6}]},
            {"id": "q3", "question": "?", "answers": [{"text": "\n", "answer_start": 2}]},
        ]
        paragraph = {"context": context, "sentence_breaks": breaks, "qas": qas, **more}
        (tmp_path / "xquad-r").mkdir(exist_ok=True)
        document = {"data": [{"paragraphs": [paragraph]}]}
        (tmp_path / f"xquad-r/{code}.json").write_text(json.dumps(document), encoding="utf-8")

    write("de", "A.", "B.")
    write("en", "C.", "D.")
    loaded = load("lareqa", "de en zh", tmp_path)
    both = ("de_1_0", "de_1_2", "en_1_0", "en_1_2")  # the same sentence twice: right in both places
    assert loaded.rows["de"] == [Query("q1_de", "Qde?", ("de_1_1", "en_1_1")), Query("q2_de", "?", both)]
    assert loaded.pool[1] == Candidate("de_1_1", "B.A.B. A.", "de")
    assert any("1 questions left out: their answer begins in no sentence" in note for note in loaded.notes)
    (tmp_path / "xquad-r/de.json").unlink()
    assert load("lareqa", "de en zh", tmp_path).rows["en"][0].gold == ("en_1_1",)
    write("de", "A.", "B.", sentence_breaks=[[0, 99]])
    fails(lambda: load("lareqa", "de", tmp_path), "data[0].paragraphs[0]", "outside the paragraph")
    document = json.loads((tmp_path / "xquad-r/en.json").read_text())
    del document["data"][0]["paragraphs"][0]["sentence_breaks"]
    (tmp_path / "xquad-r/en.json").write_text(json.dumps(document))
    fails(lambda: load("lareqa", "en", tmp_path), "`sentence_breaks` is missing", "google-research-datasets/lareqa")
    (tmp_path / "xquad-r/en.json").write_text("{")
    fails(lambda: load("lareqa", "en", tmp_path), "en.json: line 1", "not valid JSON")
    write("en", "C.", "D.", qas=[])
    fails(lambda: load("lareqa", "en", tmp_path), "en.json: no question whose answer begins in a sentence")
    for wrong in (3, ["q1"], None):
        write("en", "C.", "D.", qas=wrong)
        fails(lambda: load("lareqa", "en", tmp_path), "en.json: expected XQuAD-R's JSON")


# Mewsli-X


def entity(name: str, language: str, text: str, *cuts: tuple[int, int]) -> dict:
    spans = [{"start": start, "end": end} for start, end in cuts or [(0, len(text))]]
    return {
        "entity_id": name, "title": name, "description": text, "sentence_spans": spans,
        "description_language": language, "description_url": "",
    }  # fmt: skip


def test_mewslix_on_the_makers_rows(shared: Path, tmp_path: Path) -> None:
    source = (shared / "data/raw/mewsli_x/example_mentions.jsonl").read_text(encoding="utf-8")
    (tmp_path / "wikinews_mentions-test.jsonl").write_text(source, encoding="utf-8")
    rows = [json.loads(line) for line in source.splitlines()]
    names = sorted({mention["entity_id"] for row in rows for mention in row["mentions"]})
    with pytest.raises(NotThere, match="no candidates"):
        load("mewslix", "en ar de", tmp_path)
    pool = [
        entity(name, "uk", f"It is {name}. More.  Still\nmore.", (0, 6 + len(name) + 1), (14, 20)) for name in names
    ]
    write_jsonl(tmp_path / "candidate_set_entities.jsonl", [*pool, entity("Q0", "de", "Ein  Ding")])
    loaded = load("mewslix", "en ar de", tmp_path)
    assert loaded.split == "test" and {code: len(rows) for code, rows in loaded.rows.items()} == {"en": 1, "ar": 2}
    (query,) = loaded.rows["en"]
    # The mention's sentence as the file delimits it, braces around the span (XTREME-R's preprocess_mention).
    (mention,) = rows[0]["mentions"]
    span, text = mention["mention_span"], rows[0]["context"]["text"]
    (start, end), word = (span["start"], span["end"]), span["text"]
    inside = [s for s in rows[0]["context"]["sentence_spans"] if s["start"] <= start and end <= s["end"]]
    left, right = text[inside[0]["start"] : start], text[end : inside[0]["end"]]
    expected = f"{word}: {left} {{ {word} }} {right}".replace("  ", " ")
    assert query == Query(mention["example_id"], expected, ("Q1757",))
    assert loaded.pool[-1] == Candidate("Q0", "Ein Ding", "de")
    missing = [row for row in pool if row["entity_id"] != "Q1757"]
    write_jsonl(tmp_path / "candidate_set_entities.jsonl", missing)
    fails(lambda: load("mewslix", "en ar", tmp_path), "'Q1757'", "is not in it")
    write_jsonl(tmp_path / "candidate_set_entities.jsonl", [*pool, pool[0]])
    fails(lambda: load("mewslix", "en ar", tmp_path), "twice")
    # The archive as published lacks the texts, which the makers' scripts restore.
    no_text = (shared / "data/raw/mewsli_x/example_mentions_no_text.jsonl").read_text(encoding="utf-8")
    (tmp_path / "wikinews_mentions-test.jsonl").write_text(no_text, encoding="utf-8")
    fails(lambda: load("mewslix", "en ar", tmp_path), "line 1", "without texts")


def test_mewslix_labels_withheld_and_the_hub_layout(tmp_path: Path) -> None:
    context = {"document_id": "1", "language": "de", "text": "Ein Hund.", "sentence_spans": [{"start": 0, "end": 9}]}
    mention = {"example_id": "m", "mention_span": {"start": 4, "end": 8, "text": "Hund"}, "entity_id": ""}
    xtreme = tmp_path / "a/wikinews_mentions"
    write_jsonl(xtreme / "test-de.jsonl", [{"context": context, "mentions": [mention]}])
    with pytest.raises(NotThere, match="this copy has no labels"):
        load("mewslix", "de", tmp_path / "a")
    write_jsonl(xtreme / "dev-de.jsonl", [{"context": context, "mentions": [{**mention, "entity_id": "Q144"}]}])
    write_jsonl(tmp_path / "a/candidate_set_entities.jsonl", [entity("Q144", "en", "The dog.")])
    loaded = load("mewslix", "de en", tmp_path / "a")
    assert loaded.split == "validation" and loaded.rows == {"de": [Query("m", "Hund: Ein { Hund } .", ("Q144",))]}
    # izhx/mewsli-x: texts made beforehand, candidates in an archive.
    hub = tmp_path / "b/izhx/mewsli-x"
    write_jsonl(hub / "wikinews_mentions/de/test.jsonl", [{"mention": "Hund: Ein { Hund }.", "entity_id": "Q144"}])
    lines = write_jsonl(tmp_path / "candidate_entities.jsonl", [{"entity_id": "Q144", "description": "The dog."}])
    with tarfile.open(hub / "candidate_entities.jsonl.tar.gz", "w:gz") as archive:
        archive.add(lines, "candidate_entities.jsonl")
    loaded = load("mewslix", "de en", tmp_path / "b")
    assert loaded.rows == {"de": [Query("line 1", "Hund: Ein { Hund }.", ("Q144",))]}
    assert loaded.pool == [Candidate("Q144", "The dog.", "")] and loaded.split == "test"
    whole = (hub / "candidate_entities.jsonl.tar.gz").read_bytes()
    (hub / "candidate_entities.jsonl.tar.gz").write_bytes(whole[: len(whole) // 2])
    fails(lambda: load("mewslix", "de", tmp_path / "b"), "candidate_entities.jsonl.tar.gz", "not a readable archive")


def test_mention_texts() -> None:
    text = "One {x} y. Two dogs {a run. Three."
    sentences = [{"start": 0, "end": 10}, {"start": 11, "end": 27}, {"start": 28, "end": 34}]

    def say(start: int, end: int) -> str:
        context = {"text": text, "sentence_spans": sentences}
        return mewsli.mention_text(context, {"mention_span": {"start": start, "end": end}}, "f")

    assert say(8, 9) == "y: One (x) { y } ."  # a pair of braces becomes parentheses
    assert say(15, 19) == "dogs: Two { dogs } {a run."  # a single one stays, as in XTREME-R's code
    assert say(5, 14) == "x} y. Two: One { { x} y. Two } dogs {a run."  # across sentences: all that it touches
    assert say(10, 11) == ":  {   }".replace("  ", " ")  # between sentences: alone
    for first, last in ((11, 27), (28, 34)):
        for start in range(first, last):
            for end in range(start + 1, last + 1):
                marked = text[start:end]
                expected = f"{marked}: {text[first:start]} {{ {marked} }} {text[end:last]}"
                assert say(start, end) == expected.replace("  ", " ").strip()


def test_laser_wins_over_the_hub_only_with_more_rows(tmp_path: Path) -> None:
    laser(tmp_path / "laser", "deu", [("one", "eins")])
    parquet(
        tmp_path / "mteb/tatoeba-bitext-mining/deu-eng/test-00000-of-00001.parquet",
        {"sentence1": ["x", "y"], "sentence2": ["a", "b"]},
    )
    assert len(load("tatoeba", "de", tmp_path).rows["de"]) == 2
