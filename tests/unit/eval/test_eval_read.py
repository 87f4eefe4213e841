"""Test data of a target: which copy and split is taken, what is refused; Tatoeba, XNLI and XQuAD."""

from collections.abc import Callable
from pathlib import Path

import pytest

from common.languages import ISO3
from data_prep.datasets import TASKS
from eval.read import NotThere, Translation
from eval.suites import TARGETS, resolve_suite
from tasks.classify.data import Classify
from tests.support.launch import HOUSE
from tests.support.rows import fails
from tests.support.target_files import laser, load, nli, parquet, squad, write


def test_laser_files_anywhere_below(tmp_path: Path) -> None:
    # U+2028 and a form feed are characters of a sentence, not ends of a line.
    pairs = [("one", "eins"), ("two\u2028more", "zwei"), ("three\x0c", "drei ")]
    laser(tmp_path / "a" / "b", "deu", pairs, end="\r\n")
    laser(tmp_path / "c", "cmn", pairs[:2])
    loaded = load("tatoeba", "de fr zh", tmp_path)
    assert loaded.rows == {"de": [Translation(*p) for p in pairs], "zh": [Translation(*p) for p in pairs[:2]]}
    assert loaded.split == "test"
    assert sorted(loaded.files["de"]) == ["a/b/tatoeba.deu-eng.deu", "a/b/tatoeba.deu-eng.eng"]
    assert all(len(digest) == 64 for digest in loaded.files["de"].values())
    assert sorted(load("toy_tatoeba", "", tmp_path).rows) == ["de", "zh"]  # takes whatever is there


SOME = [("b", "x"), ("a", "y")]
OTHER = "tatoeba.deu-eng.deu"


@pytest.mark.parametrize(
    ("pairs", "spoil", "message"),
    [
        (SOME, lambda f: write(f / OTHER, "x\n"), "1 lines, but tatoeba.deu-eng.eng has 2"),
        (SOME, lambda f: (f / "tatoeba.deu-eng.eng").unlink(), "missing"),
        ([("b", "x"), ("a", " ")], lambda f: None, "line 2: an empty sentence"),
        (SOME, lambda f: (f / OTHER).write_bytes(b"\xff\nb\n"), "line 1: invalid UTF-8"),
        ([(f"{i:03}", "x") for i in range(60)], lambda f: None, "hides the alignment"),  # English in order
        (SOME, lambda f: laser(f / "again", "deu", [("b", "x"), ("a", "z")]), "differ"),
    ],
)
def test_laser_files_that_are_wrong(
    tmp_path: Path, pairs: list[tuple[str, str]], spoil: Callable[[Path], object], message: str
) -> None:
    laser(tmp_path, "deu", pairs)
    spoil(tmp_path)
    fails(lambda: load("tatoeba", "de", tmp_path), message)


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match=r"no data at .*mteb/tatoeba-bitext-mining/xx-eng/test-\*.parquet or tatoeba"):
        load("tatoeba", "fr", tmp_path)
    fails(lambda: load("tatoeba", "fr", tmp_path / "nowhere"), "no such folder")


@pytest.mark.parametrize("base", [".", "hub"])
def test_hub_layout_and_choice_of_split(tmp_path: Path, base: str) -> None:
    folder = tmp_path / base / "facebook" / "xnli"
    order = ["contradiction", "entailment", "neutral"]
    parquet(folder / "de" / "validation-00000-of-00001.parquet", nli([0, 1, 2]), order)
    parquet(folder / "fr" / "validation-00000-of-00001.parquet", nli([0, 1, 2]))
    loaded = load("xnli", "de fr sw", tmp_path)
    assert loaded.split == "validation"
    assert [example.label for example in loaded.rows["de"]] == [2, 0, 1]  # names decide
    assert [example.label for example in loaded.rows["fr"]] == [0, 1, 2]
    # A test split of one language would leave the other out; with both it is taken.
    parquet(folder / "de" / "test-00000-of-00001.parquet", nli([1]), order)
    assert load("xnli", "de fr", tmp_path).split == "validation"
    parquet(folder / "fr" / "test-00000-of-00001.parquet", nli([1]))
    assert load("xnli", "de fr", tmp_path).split == "test"
    # Withheld labels are no test split.
    parquet(folder / "fr" / "test-00000-of-00001.parquet", nli([-1]))
    loaded = load("xnli", "de fr", tmp_path)
    assert loaded.split == "validation" and "withheld" in loaded.notes[0]
    assert sorted(load("toy_xnli", "", tmp_path).rows) == ["de", "fr"]


def test_of_two_copies_the_one_with_more_rows_is_taken_whole(tmp_path: Path) -> None:
    laser(tmp_path / "laser", "deu", [("one", "eins")])
    columns = {"sentence1": ["x", "y"], "sentence2": ["a", "b"]}
    parquet(tmp_path / "mteb/tatoeba-bitext-mining/deu-eng/test-00000-of-00001.parquet", columns)
    assert len(load("tatoeba", "de", tmp_path).rows["de"]) == 2
    # XTREME's files without test labels, and PAWS-X's own: test of two languages instead of dev of another two.
    write(tmp_path / "pawsx/test-de.tsv", "a\tb\r\n")
    for code in ("de", "fr"):
        write(tmp_path / f"pawsx/dev-{code}.tsv", "a\tb\t1\r\n")
    for name in ("de/dev", "de/test", "en/dev", "en/test"):
        write(tmp_path / f"x-final/{name}_2k.tsv", "id\tsentence1\tsentence2\tlabel\n1\tx\ty\t0\n")
    loaded = load("pawsx", "de en fr", tmp_path)
    assert loaded.split == "test" and sorted(loaded.rows) == ["de", "en"]
    assert sorted(loaded.files["de"]) == ["x-final/de/test_2k.tsv"]
    assert any("test-de.tsv: labels withheld" in note for note in loaded.notes)


def test_xtreme_tsv(tmp_path: Path) -> None:
    """Quoted as csv; XNLI's own spelling of a label as well; withheld labels are named, and no test."""
    labelled = 'He said ""no"".\tHe said no.\tentailment\r\n"a ""quoted"" text"\tb\tcontradictory\r\n'
    dev = write(tmp_path / "xnli/dev-de.tsv", labelled)
    write(tmp_path / "xnli/test-de.tsv", "a\tb\r\n")
    loaded = load("xnli", "de", tmp_path)
    assert loaded.split == "validation" and len(loaded.notes) == 1
    assert loaded.rows["de"][1] == Classify("", 'a "quoted" text', "b", 2)
    dev.unlink()
    with pytest.raises(NotThere, match=r"test-de.tsv: this copy has no labels"):
        load("xnli", "de", tmp_path)
    write(tmp_path / "xnli/dev-fr.tsv", "a\tb\tmaybe\n")
    fails(lambda: load("xnli", "fr", tmp_path), "dev-fr.tsv: line 1: label: expected one of entailment")


def test_xquad_json(tmp_path: Path) -> None:
    path = tmp_path / "xquad.de.json"
    write(path, squad({"q": [("dog", 2)]}, "A dog ran."))
    loaded = load("xquad", "de", tmp_path)
    assert loaded.rows["de"][0].answers == (("dog", 2),) and loaded.split == "validation"
    write(path, squad({"q": [("dog", 3)]}, "A dog ran."))
    fails(lambda: load("xquad", "de", tmp_path), "xquad.de.json", "at character 3")


def test_the_table_of_targets() -> None:
    for target in TARGETS.values():
        assert all(len(ISO3[code]) == 3 for codes in target.languages.values() for code in codes)
        assert all((HOUSE / "configs" / "targets" / f"{name}.json").is_file() for name in target.training)
        assert all(task in TASKS for task in target.direct)
    assert [target.name for target in resolve_suite("xnli,tatoeba,xnli")[1]] == ["xnli", "tatoeba"]
    for wrong in ("xnil", "", ","):
        fails(lambda wrong=wrong: resolve_suite(wrong), "xtreme")


# The real samples


@pytest.mark.parametrize(("folder", "least"), [("raw", 34), ("hub", 8)])
def test_real_tatoeba(shared: Path, folder: str, least: int) -> None:
    rows = load("tatoeba", " ".join(TARGETS["tatoeba"].of_suite("tatoeba")), shared / "data" / folder).rows
    assert len(rows) >= least and max(map(len, rows.values())) == 1000
    assert len(rows["de"]) == 1000 and len(rows["th"]) == 548
    assert "\n" not in "".join(pair.other + pair.english for pair in rows["de"])


def test_real_xquad(shared: Path) -> None:
    """Every answer stands where its offset says, also the many that do not stand at their text's first occurrence."""
    hub, raw = (load("xquad", "ar de en es hi zh", shared / "data" / folder) for folder in ("hub", "raw"))
    assert hub.rows == raw.rows and {code: len(rows) for code, rows in hub.rows.items()} == dict.fromkeys(
        ("ar", "de", "en", "es", "hi", "zh"), 1190
    )
    examples = [example for rows in hub.rows.values() for example in rows]
    assert all(e.context.startswith(text, start) for e in examples for text, start in e.answers)
    assert sum(e.context.find(e.answers[0][0]) < e.answers[0][1] for e in examples) > 100
