"""`python -m data_prep list`, and whether the tables hang together."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.languages import ALL, ISO3, LANGUAGES, UD_NAMES
from common.task_table import TASKS
from data_prep.__main__ import main
from data_prep.datasets.revisions import REVISIONS
from data_prep.datasets.test_sets import TEST_SETS
from data_prep.sources.folders import Folder
from data_prep.sources.locate import DATASETS, locate
from data_prep.sources.sources_lock import Lock
from eval.suites import SUITES, TARGETS
from tests.support.rows import fails, nli, write_jsonl, write_parquet

HOUSE = Path(__file__).resolve().parents[3]


def listed(capsys, *arguments: str) -> dict[str, str]:
    """First word of a line -> the line, for the training data as NAME and the test data as test:NAME."""
    assert main(["list", *arguments]) == 0
    training, test = capsys.readouterr().out.split("\n\n")[:2]
    lines = {line.split()[0]: line for line in training.splitlines()}
    return {**lines, **{f"test:{line.split()[0]}": line for line in test.splitlines()}}


def test_every_data_set_is_listed(capsys, tmp_path):
    lines = listed(capsys, "--data", str(tmp_path))
    names = {name for name in DATASETS if not name.startswith("wiki_")} | {"wiki_xx"}
    assert names <= set(lines) and {f"test:{name}" for name in TEST_SETS} <= set(lines)
    for name in names:
        assert lines[name].endswith("  no")
        assert name == "wiki_xx" or DATASETS[name].licence in lines[name]
    assert "LDC2005T13" in lines["ccg"] and "12: ar" in lines["test:xquad"]


def test_what_is_there(capsys, tmp_path):
    source, data = tmp_path / "mine", tmp_path / "data"
    for split in ("train", "validation"):
        write_parquet(source / "hub/stanfordnlp/snli/plain_text", split, nli([0]))
    # No validation split; the makers' files beside it do not count, as for `locate`.
    write_parquet(source / "nyu-mll/glue/mnli", "train", nli([0]))
    for name in ("multinli_1.0_train.jsonl", "multinli_1.0_dev_matched.jsonl"):
        write_jsonl(source / name, [])
    fails(lambda: locate(DATASETS["mnli"], [Folder.open(source)], Lock(data)), "no validation_matched-*.parquet")
    write_jsonl(source / "hellaswag_train.jsonl", [])
    write_jsonl(source / "hellaswag_val.jsonl", [])
    (source / "xquad-r").mkdir()
    for code in ("de", "th"):
        (source / f"xquad-r/{code}.json").touch()
    write_parquet(source / "facebook/xnli/de", "test", nli([0]))
    write_jsonl(source / "xnli.test.jsonl", [])  # all languages, but not read beside the Hub's layout
    (data / "qqp/abc-def").mkdir(parents=True)
    (data / "qqp/abc-def/manifest.json").touch()
    lock = Lock(data)
    lock.put_revision("lighteval/siqa", "a" * 40)
    for split in ("default/train", "default/validation"):
        lock.put_split("lighteval/siqa", split, {"format": "parquet", "files": {}})
    lock.put_revision("google/xtreme", "b" * 40)
    lock.put_split("google/xtreme", "udpos.German/test", {"format": "parquet", "files": {}})
    lines = listed(capsys, "--data", str(data), "--source", "hub", "--source", str(source))
    states = {name: re.split(r"  +", line)[-1] for name, line in lines.items()}
    assert states["snli"] == states["hellaswag"] == "in mine/"
    assert states["mnli"] == "no" and states["qqp"] == "prepared" and states["siqa"] == "downloaded"
    assert states["test:lareqa"] == "2 of 11" and states["test:xnli"] == "1 of 15" and states["test:udpos"] == "1 of 38"
    assert states["test:bucc"] == "no"


def test_a_wrong_folder_is_one_line(capsys, tmp_path):
    assert main(["list", "--source", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: --source")
    (tmp_path / "sources.lock.json").write_text("{")
    assert main(["list", "--data", str(tmp_path)]) == 2
    assert "sources.lock.json" in capsys.readouterr().err


def test_it_needs_no_heavy_library():
    """The list is printed at once: neither torch nor datasets is imported for it."""
    code = (
        "import sys; from data_prep.__main__ import main; main(['list'])\n"
        "heavy = ('torch', 'datasets', 'transformers', 'huggingface_hub', 'eval', 'mtl')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_tables_hang_together():
    repositories = {dataset.hub.id for dataset in DATASETS.values() if dataset.hub}
    repositories |= {source.id for testset in TEST_SETS.values() for source in testset.hub}
    repositories |= {testset.hub_files[0] for testset in TEST_SETS.values() if testset.hub_files}
    assert repositories == set(REVISIONS)
    assert all(sha is None or re.fullmatch(r"[0-9a-f]{40}", sha) for sha in REVISIONS.values())
    for dataset in DATASETS.values():
        for file in dataset.published:
            assert file.path.startswith(f"{dataset.name}/") and re.fullmatch(r"[0-9a-f]{64}", str(file.sha256))
    for testset in TEST_SETS.values():
        assert all(file.path.startswith(f"{testset.name}/") for file in testset.published)
        assert bool(testset.hub) + bool(testset.published) + bool(testset.hub_files) == 1
    for task in TASKS.values():
        assert all(DATASETS[name].kind == task.kind for name in task.datasets)
    official = [name for suite in ("xtreme", "xtreme-r") for name in SUITES[suite]]
    assert set(official) == set(TEST_SETS)
    for name in official:
        assert TARGETS[name].languages == LANGUAGES[name]
        assert all(name in SUITES[suite] for suite in LANGUAGES[name])
    assert len(ALL) == 50 and set(ALL) <= set(ISO3) and set(LANGUAGES["udpos"]["xtreme"]) == set(UD_NAMES)


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
    """XTREME's scorer has a label file per language: the same languages as in our table."""
    folder = shared / "data/reference/xtreme_mock"
    for name, label in (
        ("bucc", "bucc2018"),
        *((n, n) for n in COUNTS["xtreme"] if n != "bucc"),
        ("mewslix", "mewslix"),
    ):
        codes = {path.stem.partition("-")[2] for path in (folder / label).iterdir()}
        suite = "xtreme-r" if name == "mewslix" else "xtreme"
        assert codes == set(LANGUAGES[name][suite]), name


def test_the_real_samples(shared, capsys, tmp_path):
    lines = listed(capsys, "--data", str(tmp_path), "--source", str(shared / "data/hub"))
    states = {name: re.split(r"  +", line)[-1] for name, line in lines.items()}
    assert states["mnli"] == states["tydiqa"] == states["siqa"] == "in hub/"
    assert states["test:xquad"] == "6 of 12" and states["test:tydiqa"] == "yes" and states["test:lareqa"] == "no"
