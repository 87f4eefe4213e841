"""Submission folders against the official scorer's own label folder, and what `check` finds wrong in one.

What its scorer makes of the files of every target: test_submission.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from common.languages import ISO3
from eval import submission
from eval.suites import LANGUAGES
from tests.support import official


def right_answers(target: str, labels: Path) -> Any:
    """Predictions as `write` takes them, from a file of gold labels."""
    text = labels.read_text(encoding="ascii")
    if target in official.QA_FILES:
        paragraphs = [paragraph for article in json.loads(text)["data"] for paragraph in article["paragraphs"]]
        return {qa["id"]: qa["answers"][0]["text"] for paragraph in paragraphs for qa in paragraph["qas"]}
    if labels.suffix == ".json":
        return json.loads(text)
    if target in ("udpos", "panx"):
        return [sentence.split() for sentence in text.split("\n\n")]
    lines = text.splitlines()
    if target == "bucc":
        return [tuple(line.split("\t")) for line in lines]
    if target == "tatoeba":  # English sentences that are in order already
        return [(f"sentence {n:04d}", int(place)) for n, place in enumerate(lines)]
    return lines


@pytest.fixture(scope="module")
def mock(shared: Path) -> Path:
    return shared / "data" / "reference" / "xtreme_mock"


@pytest.fixture
def written(mock: Path, tmp_path: Path) -> Path:
    """A submission of the right answers of the official mock labels."""
    for target, codes in {**LANGUAGES["xtreme"], "mewslix": LANGUAGES["xtreme-r"]["mewslix"]}.items():
        for code in codes:
            submission.write(tmp_path, target, code, right_answers(target, submission.path_of(mock, target, code)))
    return tmp_path


def test_files_are_those_of_the_official_labels(mock: Path, written: Path) -> None:
    there = sorted(path.relative_to(mock) for path in mock.rglob("test-*"))
    assert sorted(path.relative_to(written) for path in written.rglob("*") if path.is_file()) == there
    assert len(there) == 173
    for name in there:
        if name.suffix == ".tsv":
            assert (written / name).read_bytes() == (mock / name).read_bytes()
        else:
            read = json.loads((written / name).read_text(encoding="ascii"))  # whatever the scorer's locale
            assert read == right_answers(name.parts[0], mock / name)
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
            assert path.read_text().split()[:10] == gold.read_text().split()
            compared += 1
    assert compared > 20


def test_what_a_prediction_lacks_or_has_too_much(tmp_path: Path) -> None:
    path = submission.write(tmp_path, "udpos", "de", [["NOUN", None], ["VERB"]])
    assert path.read_text() == "NOUN\nO\n\nVERB\n"
    path = submission.write(tmp_path, "mewslix", "ta", {"m": [f"Q{n}" for n in range(30)]})
    assert json.loads(path.read_text()) == {"m": [f"Q{n}" for n in range(20)]}
    assert submission.write(tmp_path, "bucc", "de", []).read_text() == ""  # no pair found is a result


def test_check_names_what_is_wrong(mock: Path, written: Path) -> None:
    spoilt = {
        **{f"pawsx/test-{code}.tsv": None for code in LANGUAGES["xtreme"]["pawsx"]},
        "xnli/test-de.tsv": None,
        "xnli/test-fr.tsv": "neutral\n" * 9,
        "udpos/test-de.tsv": "NOUN\n\nVERB\n",
        "panx/test-sw.tsv": "B-PER\nB-MISC\n",
        "xquad/test-hi.json": json.dumps({"56beb4343aeaaa14008c925b": "x"}),
        "mlqa/test-hi.json": "{",
        "tydiqa/test-fi.json": json.dumps({"a": ["x"]}),
        "bucc2018/test-ru.tsv": "ru-1 en-1\n",
        "tatoeba/test-af.tsv": "[308]\n" * 10,  # as the official script writes them
    }
    for name, text in spoilt.items():
        (written / name).unlink() if text is None else (written / name).write_text(text, encoding="utf-8")
    udpos = (mock / "udpos" / "test-de.tsv").read_text(encoding="utf-8")
    assert submission.check(written, "xtreme", labels=mock) == [
        "xnli: no file for de",
        "xnli/test-fr.tsv: 9 lines, the labels have 10",
        "pawsx: nothing there; expected test-LANGUAGE.tsv for de en es fr ja ko zh",
        f"udpos/test-de.tsv: 2 sentences, 2 words; the labels have 2 and {len(udpos.split())}",
        "panx/test-sw.tsv: unknown tags B-MISC",
        "xquad/test-hi.json: 1 of 2 ids without prediction, the first is 56beb4343aeaaa14008c925c",
        "mlqa/test-hi.json: not readable: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "tydiqa/test-fi.json: a: expected a text",
        "bucc2018/test-ru.tsv: line 'ru-1 en-1' is not two ids",
        "tatoeba/test-af.tsv: unknown labels [308]",
    ]
