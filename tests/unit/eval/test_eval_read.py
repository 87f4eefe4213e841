"""Readers of the targets' data: small files written here, and the real samples where they are."""

import json
from pathlib import Path

import pytest

from data_prep.catalogue.languages import ISO3
from data_prep.errors import InputError
from data_prep.examples import Classify
from eval.read import NotThere, Translation, read
from eval.targets import SUITES, TARGETS, resolve_suite
from mtl.tasks import TASKS
from tests.support.launch import HOUSE
from tests.support.target_files import laser, nli, parquet


def test_laser_files_anywhere_below(tmp_path: Path) -> None:
    # U+2028 and a form feed are characters of a sentence, not ends of a line.
    pairs = [("one", "eins"), ("two\u2028more", "zwei"), ("three\x0c", "drei ")]
    laser(tmp_path / "a" / "b", "deu", pairs, end="\r\n")
    laser(tmp_path / "c", "cmn", pairs[:2])
    loaded = read(TARGETS["tatoeba"], ("de", "fr", "zh"), str(tmp_path))
    assert loaded.rows == {"de": [Translation(*p) for p in pairs], "zh": [Translation(*p) for p in pairs[:2]]}
    assert loaded.split == "test"
    assert sorted(loaded.files["de"]) == ["a/b/tatoeba.deu-eng.deu", "a/b/tatoeba.deu-eng.eng"]
    assert all(len(digest) == 64 for digest in loaded.files["de"].values())
    # The toy target takes whatever is there.
    assert sorted(read(TARGETS["toy_tatoeba"], (), str(tmp_path)).rows) == ["de", "zh"]


def test_laser_files_that_are_wrong(tmp_path: Path) -> None:
    def problem(pairs: list[tuple[str, str]], change) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        laser(folder, "deu", pairs)
        change(folder)
        with pytest.raises(InputError) as raised:
            read(TARGETS["tatoeba"], ("de",), str(folder))
        message = str(raised.value)
        assert "\n" not in message
        return message

    some = [("b", "x"), ("a", "y")]
    other = "tatoeba.deu-eng.deu"
    assert "1 lines, but tatoeba.deu-eng.eng has 2" in problem(some, lambda f: (f / other).write_text("x\n"))
    assert "missing" in problem(some, lambda f: (f / "tatoeba.deu-eng.eng").unlink())
    assert "line 2: an empty sentence" in problem([("b", "x"), ("a", " ")], lambda f: None)
    assert "line 1: invalid UTF-8" in problem(some, lambda f: (f / other).write_bytes(b"\xff\nb\n"))
    assert "hides the alignment" in problem([(f"{i:03}", "x") for i in range(60)], lambda f: None)

    def second_copy(folder: Path) -> None:
        laser(folder / "again", "deu", [("b", "x"), ("a", "z")])

    assert "differ" in problem(some, second_copy)
    with pytest.raises(NotThere, match=r"no data at .*mteb/tatoeba-bitext-mining/xx-eng/test-\*.parquet or tatoeba"):
        read(TARGETS["tatoeba"], ("fr",), str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        read(TARGETS["tatoeba"], ("fr",), str(tmp_path / "nowhere"))


@pytest.mark.parametrize("base", [".", "hub"])
def test_hub_layout_and_choice_of_split(tmp_path: Path, base: str) -> None:
    folder = tmp_path / base / "facebook" / "xnli"
    order = ["contradiction", "entailment", "neutral"]
    parquet(folder / "de" / "validation-00000-of-00001.parquet", nli([0, 1, 2]), order)
    parquet(folder / "fr" / "validation-00000-of-00001.parquet", nli([0, 1, 2]))
    loaded = read(TARGETS["xnli"], ("de", "fr", "sw"), str(tmp_path))
    assert loaded.split == "validation"
    assert [example.label for example in loaded.rows["de"]] == [2, 0, 1]  # names decide
    assert [example.label for example in loaded.rows["fr"]] == [0, 1, 2]
    # A test split of one language would leave the other out; with both it is taken.
    parquet(folder / "de" / "test-00000-of-00001.parquet", nli([1]), order)
    assert read(TARGETS["xnli"], ("de", "fr"), str(tmp_path)).split == "validation"
    parquet(folder / "fr" / "test-00000-of-00001.parquet", nli([1]))
    assert read(TARGETS["xnli"], ("de", "fr"), str(tmp_path)).split == "test"
    # Withheld labels are no test split.
    parquet(folder / "fr" / "test-00000-of-00001.parquet", nli([-1]))
    loaded = read(TARGETS["xnli"], ("de", "fr"), str(tmp_path))
    assert loaded.split == "validation" and "withheld" in loaded.notes[0]
    assert sorted(read(TARGETS["toy_xnli"], (), str(tmp_path)).rows) == ["de", "fr"]


def test_xtreme_tsv(tmp_path: Path) -> None:
    folder = tmp_path / "xnli"
    folder.mkdir()
    labelled = 'He said ""no"".\tHe said no.\tentailment\r\n"a ""quoted"" text"\tb\tcontradictory\r\n'
    (folder / "dev-de.tsv").write_text(labelled, encoding="utf-8", newline="")
    (folder / "test-de.tsv").write_text("a\tb\r\n", encoding="utf-8", newline="")
    loaded = read(TARGETS["xnli"], ("de",), str(tmp_path))
    assert loaded.split == "validation" and len(loaded.notes) == 1
    assert loaded.rows["de"][1] == Classify("", 'a "quoted" text', "b", 2)
    (folder / "dev-de.tsv").unlink()
    with pytest.raises(NotThere, match=r"test-de.tsv: this copy has no labels"):
        read(TARGETS["xnli"], ("de",), str(tmp_path))
    (folder / "dev-fr.tsv").write_text("a\tb\tmaybe\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dev-fr.tsv: line 1: label: expected one of entailment"):
        read(TARGETS["xnli"], ("fr",), str(tmp_path))


def squad(text: str, start: int) -> dict:
    question = {"id": "q", "question": "Who?", "answers": [{"text": text, "answer_start": start}]}
    return {"version": "1.1", "data": [{"paragraphs": [{"context": "A dog ran.", "qas": [question]}]}]}


def test_xquad_json(tmp_path: Path) -> None:
    for text, start, message in (("dog", 2, ""), ("dog", 3, "at character 3"), ("", 0, "this copy has no labels")):
        folder = tmp_path / f"{text}{start}"
        folder.mkdir()
        (folder / "xquad.de.json").write_text(json.dumps(squad(text, start)), encoding="utf-8")
        if message:
            with pytest.raises(InputError, match=message):
                read(TARGETS["xquad"], ("de",), str(folder))
        else:
            loaded = read(TARGETS["xquad"], ("de",), str(folder))
            assert loaded.rows["de"][0].answers == (("dog", 2),) and loaded.split == "validation"


def test_the_table_of_targets() -> None:
    assert [len(TARGETS["tatoeba"].of_suite(s)) for s in ("xtreme", "xtreme-r", "tatoeba")] == [36, 41, 41]
    assert [len(TARGETS["xnli"].of_suite(s)) for s in ("xtreme", "xtreme-r", "")] == [15, 15, 15]
    assert [len(TARGETS["xquad"].of_suite(s)) for s in ("xtreme", "xtreme-r")] == [11, 12]
    assert (len(SUITES["xtreme"]), len(SUITES["xtreme-r"])) == (9, 10)
    for target in TARGETS.values():
        assert all(len(ISO3[code]) == 3 for codes in target.languages.values() for code in codes)
        assert all((HOUSE / "configs" / "targets" / f"{name}.json").is_file() for name in target.training)
        assert all(task in TASKS for task in target.direct)
    assert [target.name for target in resolve_suite("xnli,tatoeba,xnli")[1]] == ["xnli", "tatoeba"]
    for wrong in ("xnil", "", ","):
        with pytest.raises(InputError, match="xtreme"):
            resolve_suite(wrong)


# The real samples


@pytest.mark.real
def test_real_tatoeba(shared: Path) -> None:
    for data, least in ((shared / "data", 34), (shared / "data" / "raw", 34), (shared / "data" / "hub", 8)):
        loaded = read(TARGETS["tatoeba"], TARGETS["tatoeba"].of_suite("tatoeba"), str(data))
        assert len(loaded.rows) >= least
        sizes = {code: len(rows) for code, rows in loaded.rows.items()}
        assert sizes["de"] == 1000 and sizes["th"] == 548
        assert max(sizes.values()) == 1000
        assert "\n" not in "".join(pair.other + pair.english for pair in loaded.rows["de"])


@pytest.mark.real
def test_real_xnli(shared: Path) -> None:
    for data in (shared / "data", shared / "data" / "raw"):
        loaded = read(TARGETS["xnli"], TARGETS["xnli"].of_suite("xtreme"), str(data))
        assert sorted(loaded.rows) == ["ar", "de", "en", "es", "hi", "sw", "zh"]
        assert {len(rows) for rows in loaded.rows.values()} == {2490} and loaded.split == "validation"
        labels = {code: [example.label for example in rows] for code, rows in loaded.rows.items()}
        assert all(column == labels["en"] for column in labels.values())  # parallel, and balanced
        assert [labels["en"].count(i) for i in range(3)] == [830, 830, 830]
    assert any("test-de.tsv" in note for note in loaded.notes)  # withheld: named, not scored


@pytest.mark.real
def test_real_xquad(shared: Path) -> None:
    read_twice = [
        read(TARGETS["xquad"], TARGETS["xquad"].of_suite("xtreme"), str(shared / "data" / folder))
        for folder in ("hub", "raw")
    ]
    for loaded in read_twice:
        assert sorted(loaded.rows) == ["ar", "de", "en", "es", "hi", "zh"]
        for rows in loaded.rows.values():
            assert len(rows) == 1190
            for example in rows:
                for text, start in example.answers:
                    assert example.context[start : start + len(text)] == text
    assert read_twice[0].rows["hi"] == read_twice[1].rows["hi"]
