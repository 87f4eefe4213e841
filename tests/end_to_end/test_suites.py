"""Both official suites from one command each on two ranks: real samples, XLM-R's tokenizer, a small random XLM-R.

Every target is trained (two steps), predicted and scored; what the samples lack (PAWS-X's training split, Mewsli-X)
comes from the toy world, and the table says so. Needs ../shared; part of `make test-slow`.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaModel

from eval.report import terminal_table
from eval.suites import SUITES, TARGETS
from examples.toyworld.__main__ import generate
from tests.support.eval_live import Driver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
EXAMPLES = 6


@pytest.fixture(scope="module")
def home(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run/encoder and toyworld/."""
    folder = tmp_path_factory.mktemp("suites")
    generate(folder / "toyworld", seed=1, scale=0.05)
    tokenizer = AutoTokenizer.from_pretrained(shared / "data/tokenizer/xlmr")
    torch.manual_seed(1)
    model = XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=514,
        )
    )  # fmt: skip
    for part in (model, tokenizer):
        part.save_pretrained(folder / "run" / "encoder")
    return folder


# The second takes from the first what they share.
@pytest.mark.parametrize("suite", ["xtreme-r", "xtreme"])
def test_every_target_of_the_suite(suite: str, home: Path, shared: Path, tmp_path: Path) -> None:
    places = (shared / "data", home / "toyworld")
    arguments = [word for place in places for option in ("--data", "--source") for word in (option, str(place))]
    arguments += ["--encoder", str(home / "run/encoder"), "--prepared", str(home / "data"), "--suite", suite]
    arguments += ["--set", "steps=2", "--examples", str(EXAMPLES), "--num_gpus", "2"]
    with Driver(tmp_path / "log", *arguments) as driver:
        printed = driver.finish(timeout=1500)

    scores = json.loads((home / "run/eval/scores.json").read_text(encoding="utf-8"))
    assert not scores["not_run"]
    targets = {name: scores["targets"][name] for name in SUITES[suite]}
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
        assert [s.split(" of ")[0] for s in targets["mewslix"]["supplied"]] == [
            "test data", "target training on mewslix",
        ]  # fmt: skip
        assert set(targets["mewslix"]["languages"]) == {"de", "en", "es", "ja"}
        silent = targets.keys() - {"mewslix", "xnli", "mlqa", "udpos"}  # of the last: no submission
        assert not any(targets[name]["supplied"] for name in silent)
    assert terminal_table([scores]) in printed
    report = (home / "run/eval/report.html").read_text(encoding="utf-8")
    assert all(name in report for name in SUITES[suite])
