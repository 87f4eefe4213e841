"""Submission folders: read back as the official scorer reads them, and compared with its own label folder."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import UPOS
from common.languages import ISO3
from eval import submission
from eval.official import LANGUAGES


def scorer_reads(path: Path, target: str) -> Any:
    """What the official `evaluate.py` makes of a file, written from its description of each format."""
    with open(path, encoding="ascii") as file:  # whatever the locale of the scorer's machine
        if target in ("udpos", "panx"):
            sentences: list[list[str]] = [[]]
            for line in file:
                if line.strip():
                    sentences[-1].append(line.strip())
                else:
                    sentences.append([])
            return sentences if sentences[-1] else sentences[:-1]
        if target == "xcopa":
            return [json.loads(line)["label"] for line in file]
        if path.suffix == ".json":
            return json.load(file)
        return [line.strip() for line in file]


def questions(labels: dict) -> dict[str, str]:
    return {
        qa["id"]: qa["answers"][0]["text"]
        for article in labels["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }


def as_predictions(target: str, labels: Any) -> Any:
    """Perfect predictions, in the form that `write` takes."""
    if target in ("xquad", "mlqa", "tydiqa"):
        return questions(labels)
    if target == "bucc":
        return [tuple(line.split("\t")) for line in labels]
    if target == "tatoeba":  # English sentences that are in order already
        return [(f"sentence {n:04d}", int(place)) for n, place in enumerate(labels)]
    return labels


@pytest.fixture(scope="module")
def mock(shared: Path) -> Path:
    return shared / "data" / "reference" / "xtreme_mock"


def test_layout_is_that_of_the_official_labels(mock: Path, tmp_path: Path) -> None:
    written = []
    for target, codes in {**LANGUAGES["xtreme"], "mewslix": LANGUAGES["xtreme-r"]["mewslix"]}.items():
        for code in codes:
            gold = submission.path_of(mock, target, code)
            labels = scorer_reads(gold, target)
            path = submission.write(tmp_path, target, code, as_predictions(target, labels))
            written.append(path)
            assert path.relative_to(tmp_path) == gold.relative_to(mock)
            assert scorer_reads(path, target) == (
                questions(labels) if target in ("xquad", "mlqa", "tydiqa") else labels
            )
            if path.suffix == ".tsv":
                assert path.read_bytes() == gold.read_bytes()
    there = {path.relative_to(mock) for path in mock.rglob("test-*")}
    assert {path.relative_to(tmp_path) for path in written} == there and len(there) == 173
    assert submission.check(tmp_path, "xtreme", labels=mock) == []
    assert submission.check(tmp_path, "xtreme") == []


def test_tatoeba_follows_the_sorted_english_side(shared: Path, mock: Path, tmp_path: Path) -> None:
    """The mock labels are the first ten lines of the true ones: the place of each sorted English sentence."""
    compared = 0
    for code in LANGUAGES["xtreme"]["tatoeba"]:
        source = shared / "data" / "raw" / "tatoeba" / f"tatoeba.{ISO3[code]}-eng.eng"
        if source.is_file():
            english = source.read_text(encoding="utf-8").splitlines()
            path = submission.write(tmp_path, "tatoeba", code, [(text, place) for place, text in enumerate(english)])
            assert scorer_reads(path, "tatoeba")[:10] == scorer_reads(
                submission.path_of(mock, "tatoeba", code), "tatoeba"
            )
            compared += 1
    assert compared > 20


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*UPOS, None]), min_size=1, max_size=5), min_size=1, max_size=5))
def test_no_word_and_no_sentence_is_lost(tmp_path_factory, sentences: list[list[str | None]]) -> None:
    path = submission.write(tmp_path_factory.mktemp("tags"), "udpos", "de", sentences)
    assert scorer_reads(path, "udpos") == [[tag or "O" for tag in sentence] for sentence in sentences]


def perfect(target: str) -> Any:
    """Some predictions of each form."""
    return {
        "xnli": ["neutral", "entailment"], "xcopa": [0, 1], "udpos": [["NOUN", None], ["VERB"]],
        "panx": [["B-PER", "I-PER"], ["O"]], "xquad": {"q1": "ein «Text»", "q2": ""}, "mlqa": {"q": "北京"},
        "tydiqa": {"q": "x"}, "tatoeba": [("b", 1), ("a", 0)], "lareqa": {"q_de": ["en_1_0"]},
        "mewslix": {"m": [f"Q{n}" for n in range(30)]},
    }[target]  # fmt: skip


def test_xtreme_r(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert len(submission.check(folder, "xtreme-r")) == 10
    for target, codes in LANGUAGES["xtreme-r"].items():
        for code in codes:
            submission.write(folder, target, code, perfect(target))
    assert submission.check(folder, "xtreme-r") == []
    assert scorer_reads(folder / "xcopa" / "test-et.jsonl", "xcopa") == [0, 1]
    assert scorer_reads(folder / "tatoeba" / "test-uk.tsv", "tatoeba") == ["0", "1"]
    assert scorer_reads(folder / "xquad" / "test-ro.json", "xquad") == {"q1": "ein «Text»", "q2": ""}
    assert scorer_reads(folder / "mewslix" / "test-ta.json", "mewslix") == {"m": [f"Q{n}" for n in range(20)]}
    assert not list(folder.rglob("*.tmp"))


def test_check_names_what_is_wrong(mock: Path, tmp_path: Path) -> None:
    for target, codes in LANGUAGES["xtreme"].items():
        for code in codes:
            labels = scorer_reads(submission.path_of(mock, target, code), target)
            submission.write(tmp_path, target, code, as_predictions(target, labels))

    def spoil(name: str, text: str | None) -> None:
        (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text, encoding="utf-8")

    for code in LANGUAGES["xtreme"]["pawsx"]:
        spoil(f"pawsx/test-{code}.tsv", None)
    spoil("xnli/test-de.tsv", None)
    spoil("xnli/test-th.tsv", None)
    spoil("xnli/test-fr.tsv", "neutral\n" * 9)
    spoil("xnli/test-ru.tsv", "neutral\n" * 9 + "contradictory\n")
    spoil("udpos/test-de.tsv", "NOUN\n\nVERB\n")
    spoil("panx/test-sw.tsv", "B-PER\nB-MISC\n")
    spoil("xquad/test-hi.json", json.dumps({"56beb4343aeaaa14008c925b": "x"}))
    spoil("mlqa/test-hi.json", "{")
    spoil("tydiqa/test-fi.json", json.dumps({"a": ["x"]}))
    spoil("bucc2018/test-ru.tsv", "ru-1 en-1\n")
    spoil("tatoeba/test-af.tsv", "[308]\n" * 10)  # as the official script writes them
    spoil("tatoeba/test-ar.tsv", "")
    udpos = (mock / "udpos" / "test-de.tsv").read_text(encoding="utf-8")
    found = submission.check(tmp_path, "xtreme", labels=mock)
    assert found == [
        "xnli: no file for de th",
        "xnli/test-fr.tsv: 9 lines, the labels have 10",
        "xnli/test-ru.tsv: unknown labels contradictory",
        "pawsx: nothing there; expected test-LANGUAGE.tsv for de en es fr ja ko zh",
        f"udpos/test-de.tsv: 2 sentences, 2 words; the labels have 2 and {len(udpos.split())}",
        "panx/test-sw.tsv: unknown tags B-MISC",
        "xquad/test-hi.json: 1 of 2 ids without prediction, the first is 56beb4343aeaaa14008c925c",
        "mlqa/test-hi.json: not readable: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "tydiqa/test-fi.json: a: expected a text",
        "bucc2018/test-ru.tsv: line 'ru-1 en-1' is not two ids",
        "tatoeba/test-af.tsv: unknown labels [308]",
        "tatoeba/test-ar.tsv: empty",
    ]


def test_what_write_refuses(tmp_path: Path) -> None:
    def says(target: str, code: str, predictions: Any) -> str:
        with pytest.raises(ValueError) as caught:
            submission.write(tmp_path, target, code, predictions)
        return str(caught.value)

    assert "unknown target 'xnil'" in says("xnil", "de", ["neutral"])
    assert says("xnli", "ja", ["neutral"]) == "xnli has no language 'ja'"
    assert says("xnli", "de", []) == "xnli de: no predictions"
    assert "label '0', expected one of contradiction" in says("xnli", "de", [0])
    assert "sentence 1 has no words" in says("udpos", "de", [["NOUN"], []])
    assert "tag 'O' in sentence 0" in says("udpos", "de", [["O"]])
    assert "tag 'NOUN'" in says("panx", "de", [["NOUN"]])
    assert "expected two ids" in says("bucc", "de", [("de 1", "en-1")])
    assert not list(tmp_path.iterdir())
    # No pair found is a result.
    assert submission.write(tmp_path, "bucc", "de", []).read_text() == ""
