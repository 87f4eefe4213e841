"""Training on real rows of all nine tasks, with XLM-R's own tokenizer and a small random XLM-R.

Prepares the first rows of each task (few enough that a random encoder can learn them in a minute) and trains on them:
two ranks, ZeRO-2, killed and resumed. Scores: test_suites.py. Needs
../shared; `make test-real` runs it and says so when it is missing.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main
from tests.support.launch import program
from tests.support.live import train_and_kill

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

NINE = ["anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"]
KEPT = 20  # training rows of each task that the small model learns
SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 514,
}  # fmt: skip


def first_rows(data: Path, out: Path) -> None:
    """The first `KEPT` training rows of each dataset, in the layout they came in; dev whole."""
    for source in (data / "hub").rglob("*.parquet"):
        if source.parts[-4:-2] in [("facebook", "xnli"), ("google", "xtreme")]:
            continue
        target = out / source.relative_to(data / "hub")
        target.parent.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(source)
        pq.write_table(table[:KEPT] if source.name.startswith("train") else table, target)
    (out / "ccg").mkdir()
    for split in ("train", "dev"):
        lines = (data / f"raw/ccg/jiant_layout/pmb.{split}.tsv").read_text().splitlines(keepends=True)
        (out / f"ccg/pmb.{split}.tsv").write_text("".join(lines[:KEPT] if split == "train" else lines))


@pytest.fixture(scope="module")
def trained(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two ranks, killed with -9 after the first checkpoint, and the same command again to the end."""
    folder = tmp_path_factory.mktemp("real")
    values = {
        "name": "nine", "output": str(folder / "runs"), "data": str(folder / "data"), "tasks": NINE,
        "encoder": {"config": SHAPE, "tokenizer": str(shared / "data/tokenizer/xlmr")},
        "max_length": 256, "batch": {"examples": 36}, "micro_tokens": 4096, "steps": 160, "hidden_dropout_prob": 0.0,
        "mixture": {"kind": "uniform", "batches": "mixed"}, "optimizer": {"lr": 3e-3}, "log_every": 10,
        "evaluate": {"every": 80, "examples": 50}, "checkpoint": {"every": 20}, "deepspeed": "zero2_cpu.json",
    }  # fmt: skip
    config = folder / "nine.json"
    config.write_text(json.dumps(values))
    first_rows(shared / "data", folder / "few")
    assert main(["--config", str(config), "--source", str(folder / "few")]) == 0
    train_and_kill(config, folder / "runs" / "nine", step=40, timeout=300)
    again = program("train.py", "--config", config, ranks=2, timeout=600)
    assert "resuming" in again.stdout + again.stderr
    return folder / "runs" / "nine"


def test_the_loss_falls_on_each_of_the_nine(trained: Path) -> None:
    losses, steps = defaultdict(list), []
    for line in map(json.loads, (trained / "metrics.jsonl").read_text().splitlines()):
        if line["kind"] == "train":
            losses[line["task"]].append(line["loss"])
            steps += [line["step"]] if line["task"] == "all" else []
    assert steps == list(range(10, 161, 10))  # once each, across the kill
    for task in NINE:
        first, last = np.mean(losses[task][:2]), np.mean(losses[task][-2:])
        print(f"{task:<15} {first:>8.3f} -> {last:.3f}")
        assert last < 0.8 * first, task
