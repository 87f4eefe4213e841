"""Submission folders: read back as the official scorer reads them, and compared with its own label folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.languages import ISO3
from eval import submission
from eval.suites import LANGUAGES


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


def right_answers(target: str, labels: Path) -> tuple[Any, Any]:
    """From a file of gold labels: (predictions as `write` takes them, what the scorer should read)."""
    found = scorer_reads(labels, target)
    if target in ("xquad", "mlqa", "tydiqa"):
        paragraphs = [paragraph for article in found["data"] for paragraph in article["paragraphs"]]
        answers = {qa["id"]: qa["answers"][0]["text"] for paragraph in paragraphs for qa in paragraph["qas"]}
        return answers, answers
    if target == "bucc":
        return [tuple(line.split("\t")) for line in found], found
    if target == "tatoeba":  # English sentences that are in order already
        return [(f"sentence {n:04d}", int(place)) for n, place in enumerate(found)], found
    return found, found


@pytest.fixture(scope="module")
def mock(shared: Path) -> Path:
    return shared / "data" / "reference" / "xtreme_mock"


@pytest.fixture
def written(mock: Path, tmp_path: Path) -> Path:
    """A submission of the right answers of the official mock labels."""
    for target, codes in {**LANGUAGES["xtreme"], "mewslix": LANGUAGES["xtreme-r"]["mewslix"]}.items():
        for code in codes:
            predictions, _ = right_answers(target, submission.path_of(mock, target, code))
            submission.write(tmp_path, target, code, predictions)
    return tmp_path


def test_layout_is_that_of_the_official_labels(mock: Path, written: Path) -> None:
    there = sorted(path.relative_to(mock) for path in mock.rglob("test-*"))
    assert sorted(path.relative_to(written) for path in written.rglob("*") if path.is_file()) == there
    assert len(there) == 173
    for name in there:
        target = {"bucc2018": "bucc"}.get(name.parts[0], name.parts[0])
        assert scorer_reads(written / name, target) == right_answers(target, mock / name)[1]
        if name.suffix == ".tsv":
            assert (written / name).read_bytes() == (mock / name).read_bytes()
    assert submission.check(written, "xtreme", labels=mock) == submission.check(written, "xtreme") == []


def test_tatoeba_follows_the_sorted_english_side(shared: Path, mock: Path, tmp_path: Path) -> None:
    """The mock labels are the first ten lines of the true ones: the index of each sorted English sentence."""
    compared = 0
    for code in LANGUAGES["xtreme"]["tatoeba"]:
        source = shared / "data" / "raw" / "tatoeba" / f"tatoeba.{ISO3[code]}-eng.eng"
        if source.is_file():
            english = source.read_text(encoding="utf-8").splitlines()
            path = submission.write(tmp_path, "tatoeba", code, [(text, place) for place, text in enumerate(english)])
            gold = submission.path_of(mock, "tatoeba", code)
            assert scorer_reads(path, "tatoeba")[:10] == scorer_reads(gold, "tatoeba")
            compared += 1
    assert compared > 20


SOME = {
    "xnli": ["neutral", "entailment"], "xcopa": [0, 1], "udpos": [["NOUN", None], ["VERB"]],
    "panx": [["B-PER", "I-PER"], ["O"]], "xquad": {"q1": "ein «Text»", "q2": ""}, "mlqa": {"q": "北京"},
    "tydiqa": {"q": "x"}, "tatoeba": [("b", 1), ("a", 0)], "lareqa": {"q_de": ["en_1_0"]},
    "mewslix": {"m": [f"Q{n}" for n in range(30)]},
}  # fmt: skip


def test_xtreme_r(tmp_path: Path) -> None:
    assert len(submission.check(tmp_path, "xtreme-r")) == 10
    for target, codes in LANGUAGES["xtreme-r"].items():
        for code in codes:
            submission.write(tmp_path, target, code, SOME[target])
    assert submission.check(tmp_path, "xtreme-r") == []
    for name, expected in (
        ("xcopa/test-et.jsonl", [0, 1]),
        ("udpos/test-de.tsv", [["NOUN", "O"], ["VERB"]]),
        ("tatoeba/test-uk.tsv", ["0", "1"]),
        ("xquad/test-ro.json", SOME["xquad"]),
        ("mewslix/test-ta.json", {"m": [f"Q{n}" for n in range(20)]}),
    ):
        assert scorer_reads(tmp_path / name, name.partition("/")[0]) == expected
    assert not list(tmp_path.rglob("*.tmp"))


def test_check_names_what_is_wrong(mock: Path, written: Path) -> None:
    def spoil(name: str, text: str | None) -> None:
        (written / name).unlink() if text is None else (written / name).write_text(text, encoding="utf-8")

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
    assert submission.check(written, "xtreme", labels=mock) == [
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


@pytest.mark.parametrize(
    ("target", "code", "predictions", "message"),
    [
        ("xnil", "de", ["neutral"], "unknown target 'xnil'"),
        ("xnli", "ja", ["neutral"], "xnli has no language 'ja'"),
        ("xnli", "de", [], "xnli de: no predictions"),
        ("xnli", "de", [0], "label '0', expected one of contradiction"),
        ("udpos", "de", [["NOUN"], []], "sentence 1 has no words"),
        ("udpos", "de", [["O"]], "tag 'O' in sentence 0"),
        ("panx", "de", [["NOUN"]], "tag 'NOUN'"),
        ("bucc", "de", [("de 1", "en-1")], "expected two ids"),
    ],
)
def test_what_write_refuses(tmp_path: Path, target: str, code: str, predictions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        submission.write(tmp_path, target, code, predictions)
    assert not list(tmp_path.iterdir())


def test_no_pair_found_is_a_result(tmp_path: Path) -> None:
    assert submission.write(tmp_path, "bucc", "de", []).read_text() == ""
