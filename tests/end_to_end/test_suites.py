"""Both official suites from one command each: real samples, a small random XLM-R, its tokenizer's head.

Every target is trained (two steps), predicted and scored; what the samples lack (PAWS-X's training split, Mewsli-X)
comes from the toy world, and the table says so. The trainer is forked, without a launcher. Needs ../shared.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import main
from eval.report import terminal_table
from eval.suites import SUITES, TARGETS
from examples.toyworld.__main__ import generate
from tests.support.eval_live import fork_programs
from tests.support.eval_run import make_run, scores_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
EXAMPLES, PIECES = 6, 40_000
SHORT = ("--set", "steps=2", "--set", "batch.examples=8", "--set", "evaluate.examples=20")


def frequent(source: Path, folder: Path) -> Path:
    """XLM-R's tokenizer with its most frequent pieces only: the whole takes 4 s to load, in some 20 processes."""
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    (folder / "sentencepiece.bpe.model").unlink()
    values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    *pieces, mask = values["model"]["vocab"]
    values["model"]["vocab"], values["added_tokens"][-1]["id"] = [*pieces[:PIECES], mask], PIECES
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def home(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run/encoder and toyworld/."""
    folder = tmp_path_factory.mktemp("suites")
    generate(folder / "toyworld", seed=1, scale=0.02)
    make_run(folder / "run", frequent(shared / "data/tokenizer/xlmr", folder / "tokenizer"), heads=())
    return folder


# The second takes from the first what they share.
@pytest.mark.parametrize("suite", ["xtreme-r", "xtreme"])
def test_every_target_of_the_suite(suite: str, home: Path, shared: Path, monkeypatch: Any, capsys: Any) -> None:
    fork_programs(monkeypatch)
    places = (shared / "data", home / "toyworld")
    arguments = [word for place in places for option in ("--data", "--source") for word in (option, str(place))]
    arguments += ["--encoder", str(home / "run/encoder"), "--prepared", str(home / "data"), "--suite", suite]
    assert main([*arguments, *SHORT, "--examples", str(EXAMPLES), "--num_gpus", "1"]) == 0
    printed = capsys.readouterr().out

    scores = scores_in(home / "run" / "eval")
    assert not scores["not_run"]
    targets = {name: scores["targets"][name] for name in SUITES[suite]}
    assert all("commit" in record for record in targets.values())
    for name, record in targets.items():
        assert record["languages"] and all(0 <= score <= 100 for score in record["languages"].values()), name
        official, missing = TARGETS[name].of_suite(suite), record["suites"][suite]["missing_languages"]
        assert sorted([*missing, *(code for code in record["languages"] if code in official)]) == sorted(official)
        if name not in ("bucc", "lareqa"):  # of which a share of the questions is taken
            assert all(detail["n"] == EXAMPLES for detail in record["details"].values()), name
        trained = record["protocol"].get("training", [])
        assert all(stage["steps"] == 2 for stage in trained)
        assert bool(trained) == (name not in ("bucc", "tatoeba"))
    # The samples have no labelled test of these, nor has the toy world; XNLI's is the toy world's.
    dev = {name for name, record in targets.items() if record["dev"]}
    assert set(targets["xnli"]["languages"]) == {"de", "en", "es", "hi", "ru", "sw"}
    if suite == "xtreme":
        assert dev == {"pawsx", "mlqa", "bucc"}
        first, sentence = targets["pawsx"]["supplied"]
        assert first.startswith("dev, not test, in ") and sentence.startswith("target training on pawsx of ")
        assert first in printed and sentence in printed
        assert len(targets["panx"]["languages"]) == 6
    else:
        assert dev == {"mlqa"}
        supplied = [sentence.split(" of ")[0] for sentence in targets["mewslix"]["supplied"]]
        assert supplied == ["test data", "target training on mewslix"]
        assert set(targets["mewslix"]["languages"]) == {"de", "en", "es", "ja"}
        silent = targets.keys() - {"mewslix", "xnli", "mlqa", "udpos"}  # of the last: no submission
        assert not any(targets[name]["supplied"] for name in silent)
    assert terminal_table([scores]) in printed
    report = (home / "run/eval/report.html").read_text(encoding="utf-8")
    assert all(name in report for name in SUITES[suite])
