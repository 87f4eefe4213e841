"""`python -m data_prep list`: all data sets, which of them are here, and the languages that the suites score.

That the list agrees with what is read is tested form by form in test_datasets.py.
"""

import re
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.datasets import DATASETS, TEST_SETS
from tests.support.rows import hub_file, write

LANGUAGES = {name: testset.suites for name, testset in TEST_SETS.items()}
ROOT = Path(__file__).resolve().parents[3]
NLI_ROW = {"premise": "a", "hypothesis": "b", "label": 0}


def listed(capsys, *arguments: str) -> dict[str, list[str]]:
    """Name -> columns of its line; the training data as NAME and the test data as test:NAME."""
    assert main(["list", *arguments]) == 0
    training, test = capsys.readouterr().out.split("\n\n")[:2]
    lines = [(prefix, line) for prefix, text in (("", training), ("test:", test)) for line in text.splitlines()]
    return {prefix + line.split()[0]: re.split(r"  +", line) for prefix, line in lines}


def test_every_data_set_is_listed(capsys, tmp_path):
    lines = listed(capsys, "--data", str(tmp_path))
    names = {name for name in DATASETS if not name.startswith("wiki_")} | {"wiki_xx"}
    assert names | {f"test:{name}" for name in TEST_SETS} <= set(lines)
    for name in names:
        assert lines[name][-1] == "no" and (name == "wiki_xx" or DATASETS[name].licence in lines[name])
    assert "LDC2005T13" in " ".join(lines["ccg"]) and "12: ar" in " ".join(lines["test:xquad"])


def test_what_is_here(capsys, tmp_path):
    source, data = tmp_path / "mine", tmp_path / "data"
    write(hub_file(source / "hub/stanfordnlp/snli/plain_text", "train"), [NLI_ROW])
    for path in ("hellaswag_train.jsonl", "hellaswag_val.jsonl", "xquad-r/de.json", "xquad-r/th.json"):
        write(source / path, [])
    write(hub_file(source / "facebook/xnli/de", "test"), [NLI_ROW])
    write(source / "xnli.test.jsonl", [])  # all languages, but not read beside the Hub's layout
    write(data / "qqp/abc-def/manifest.json", "")
    lines = listed(capsys, "--data", str(data), "--source", "hub", "--source", str(source))
    wanted = {
        "snli": "no", "hellaswag": "in mine/", "qqp": "prepared", "test:lareqa": "2 of 11", "test:xnli": "1 of 15",
        "test:bucc": "no",
    }  # fmt: skip
    assert {name: lines[name][-1] for name in wanted} == wanted


def test_a_wrong_folder_is_one_line(capsys, tmp_path):
    assert main(["list", "--source", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: --source")


# The number of languages of each task in the official evaluator (XTREME_TASK2LANGS, XTREME_R_TASK2LANGS), with LAReQA's
# eleven, which that table lacks.
COUNTS = {
    "xtreme": {
        "pawsx": 7, "xnli": 15, "panx": 40, "udpos": 33, "bucc": 4, "tatoeba": 36, "xquad": 11, "mlqa": 7, "tydiqa": 9,
    },
    "xtreme-r": {
        "xnli": 15, "panx": 48, "udpos": 38, "tatoeba": 41, "xcopa": 11, "lareqa": 11, "mewslix": 11, "xquad": 12,
        "mlqa": 7, "tydiqa": 9,
    },
}  # fmt: skip


@pytest.mark.parametrize("suite", list(COUNTS))
def test_languages_are_those_of_the_evaluator(suite):
    assert {name: len(codes[suite]) for name, codes in LANGUAGES.items() if suite in codes} == COUNTS[suite]


def test_languages_of_the_label_files(shared):
    """XTREME's scorer has a label file per language."""
    for name in (*COUNTS["xtreme"], "mewslix"):
        folder = shared / "data/reference/xtreme_mock" / ("bucc2018" if name == "bucc" else name)
        codes = {path.stem.partition("-")[2] for path in folder.iterdir()}
        assert codes == set(LANGUAGES[name]["xtreme-r" if name == "mewslix" else "xtreme"]), name
