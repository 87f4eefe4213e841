"""Submission folders against the official scorer's own label folder.

What its scorer makes of the files of every target: test_submission.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest

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
    assert submission.missing(written, "xtreme") == []


def test_what_a_prediction_lacks_or_has_too_much(tmp_path: Path) -> None:
    path = submission.write(tmp_path, "udpos", "de", [["NOUN", None], ["VERB"]])
    assert path.read_text() == "NOUN\nO\n\nVERB\n"
    path = submission.write(tmp_path, "mewslix", "ta", {"m": [f"Q{n}" for n in range(30)]})
    assert json.loads(path.read_text()) == {"m": [f"Q{n}" for n in range(20)]}
    assert submission.write(tmp_path, "bucc", "de", []).read_text() == ""  # no pair found is a result
