"""`python -m data_prep list`: all data sets, which of them are here, and the languages that the suites score.

That the list agrees with what is read is tested form by form in test_datasets.py.
"""

import re

from data_prep.__main__ import main
from data_prep.datasets import DATASETS, TEST_SETS
from tests.support.rows import hub_file, write

NLI_ROW = {"premise": "a", "hypothesis": "b", "label": 0}


def listed(capsys, *arguments: str) -> dict[str, list[str]]:
    """Name -> columns of its line; the training data as NAME and the test data as test:NAME."""
    assert main(["list", *arguments]) == 0
    training, test = capsys.readouterr().out.split("\n\n")[:2]
    lines = [(prefix, line) for prefix, text in (("", training), ("test:", test)) for line in text.splitlines()]
    return {prefix + line.split()[0]: re.split(r"  +", line) for prefix, line in lines}


def test_every_data_set_is_listed(capsys, tmp_path):
    lines = listed(capsys, "--data", str(tmp_path))
    names = {name.partition(".")[0] for name in DATASETS if not name.startswith("wiki_")} | {"wiki_xx"}
    assert names | {f"test:{name}" for name in TEST_SETS} <= set(lines)
    for name in names:
        assert lines[name][-1] == "no" and (name not in DATASETS or DATASETS[name].licence in lines[name])
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
